"""Searches over nothing that is trained: their configs, and trials with invented results."""

from collections.abc import Callable
from typing import Any

from scenerec.config.tune import TuneConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.search.trial import Trial

MakeSearch = Callable[..., TuneConfig]

SPACE: dict[str, Any] = {
    "model.arch": ["resnet18", "mobilenet_v3_small"],
    "optimize.lr": {"log_uniform": [0.001, 1.0]},
    "optimize.schedule": ["cosine", "step"],
    "optimize.step_gamma": {"uniform": [0.05, 0.5], "when": {"optimize.schedule": "step"}},
}


def search_document(output: str = "/tmp/runs", **fields: Any) -> dict[str, Any]:
    """tune.yaml as a dict; fields such as `trials=3` replace its own."""
    return {
        "kind": "tune",
        "name": "rooms",
        "base": {
            "framework": "torch",
            "data": {"train": "/data/train", "val": "/data/val", "image_size": 64},
            "model": {"arch": "resnet18"},
            "optimize": {"epochs": 9, "global_batch_size": 16, "lr": 0.05},
        },
        "search": SPACE,
        "trials": 12,
        "output": output,
        **fields,
    }


def invented(number: int, *top1: float | None, state: Any = "finished", **fields: Any) -> Trial:
    """A trial of nine epochs with these top-1 shares."""
    history = tuple(
        EpochMetrics.model_validate(
            {"epoch": epoch, "val_top1": value, "val_top5": value, "val_loss": None if value is None else 3 - 2 * value}
        )
        for epoch, value in enumerate(top1, 1)
    )
    known = {"point": {}, "epochs": 9, "epochs_done": len(top1), "cost": float(len(top1)), "history": history}
    return Trial(number=number, state=state, **{**known, **fields})
