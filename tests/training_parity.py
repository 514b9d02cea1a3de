"""The same run in both frameworks: the library's loop and learners, from the same weights, over the same batches.

Images have the size that the network sees, so that the input pipelines have nothing to round, and both frameworks get
the same bytes. In float64 the two trainings are the same function up to 1e-16, and the curves must coincide to the end.
In float32 a network multiplies rounding from step to step, the more so with ReLUs and BatchNorm; torch's own training
over the same batches, each read from its end, rounds otherwise and nothing else, and is the yardstick of how much.
Dropout is off: that both frameworks drop the same is compared in tests/unit.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from scenerec.checkpoint import Tensors
from scenerec.config.train import TrainConfig
from scenerec.data.packed_set import open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from scenerec.job_log import Event, Progress
from scenerec.training.learner import TrainingJob
from scenerec.training.loop import train
from scenerec.training.preflight import plan_job
from scenerec.world import World

CLASSES = 4
EPOCHS = 2
STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Trajectory:
    """One training run."""

    losses: np.ndarray
    """float64 [steps]"""
    batches: tuple[str, ...]
    """A digest of each batch, of pixels and labels in their order."""
    start: Tensors
    end: Tensors

    def save(self, file: Path) -> None:
        """As an .npz."""
        tensors = {f"{place}/{name}": t for place in ("start", "end") for name, t in getattr(self, place).items()}
        np.savez(file, losses=self.losses, batches=np.array(self.batches), **tensors)

    @classmethod
    def load(cls, file: Path) -> "Trajectory":
        """What `save` wrote."""
        with np.load(file) as arrays:
            start, end = (
                {name.removeprefix(place): arrays[name] for name in arrays.files if name.startswith(place)}
                for place in ("start/", "end/")
            )
            return cls(arrays["losses"], tuple(arrays["batches"].tolist()), start, end)


@dataclass(frozen=True)
class Difference:
    """How far apart two runs are."""

    losses: np.ndarray
    """Of each step, relative; float64 [steps]."""
    weights: float
    """Between the last weights, over the length of the way from the first to the last (L2 over all of them)."""
    statistics: float
    """The same of BatchNorm's running statistics; 0 where there are none."""


def difference(ours: Trajectory, theirs: Trajectory) -> Difference:
    """Of two runs that began with the same weights."""
    assert ours.start.keys() == theirs.start.keys()
    assert all(np.array_equal(ours.start[name], theirs.start[name]) for name in ours.start)
    statistics = {name for name in ours.start if name.endswith(STATISTICS)}
    return Difference(
        losses=np.abs(ours.losses - theirs.losses) / ours.losses,
        weights=_apart(ours, theirs, ours.start.keys() - statistics),
        statistics=_apart(ours, theirs, statistics),
    )


def _apart(ours: Trajectory, theirs: Trajectory, names: set[str]) -> float:
    apart = sum(float(np.square(ours.end[name] - theirs.end[name], dtype=np.float64).sum()) for name in names)
    moved = sum(float(np.square(ours.end[name] - ours.start[name], dtype=np.float64).sum()) for name in names)
    return (apart / moved) ** 0.5 if names else 0.0


def pack_images(folder: Path, image_size: int, train_per_class: int) -> Path:
    """Draws and packs training and validation images; returns where the sets are."""
    draw_scenes(folder / "images", CLASSES, train_per_class, val_per_class=4, size=image_size, seed=1)
    destination = folder / "packed"
    pack(PackRequest(source=folder / "images", destination=str(destination), options=PackOptions(shard_mb=0.1)))
    return destination


def make_config(
    sets: Path,
    framework: str,
    arch: str,
    image_size: int,
    optimize: dict[str, Any],
    name: str = "parity",
    augment: dict[str, Any] | None = None,
) -> TrainConfig:
    """Two epochs with warm-up and cosine, with no other augmentation than `augment`; runs are kept beside `sets`."""
    unchanged = {"crop_scale": [1, 1], "crop_ratio": [1, 1], "flip": False, **(augment or {})}
    document = {
        "kind": "train",
        "name": name,
        "framework": framework,
        "data": {
            "train": f"{sets}/train",
            "val": f"{sets}/val",
            "image_size": image_size,
            "eval_crop_ratio": 1.0,
            "augment": unchanged,
        },
        "model": {"arch": arch},
        "optimize": {"epochs": EPOCHS, "schedule": "cosine", "warmup_epochs": 0.4, **optimize},
        "output": str(sets.parent / "runs"),
    }
    return TrainConfig.model_validate(document)


def follow(config: TrainConfig, reverse: bool = False) -> Trajectory:
    """Trains from the beginning; with `reverse` (torch only), each batch is read from its end."""
    from tests.parity import switch_dropout_off  # with both frameworks, which comparing alone does not need

    job = TrainingJob(config, plan_job(config), open_set(config.data.train), open_set(config.data.val))
    learner = _make_learner(job)
    switch_dropout_off(learner.model)
    start = _weights(learner)
    digests: list[str] = []
    events: list[Event] = []
    batches = learner.training_batches
    learner.training_batches = lambda cursor: _watch(batches(cursor), digests, reverse)
    train(job, World(), learner, events.append, lambda metrics: None)
    losses = [event.loss for event in events if isinstance(event, Progress)]
    assert len(losses) == job.plan.total_steps, "the loop says more than one step's loss at a time"
    return Trajectory(np.array(losses), tuple(digests), start, _weights(learner))


def _weights(learner: Any) -> Tensors:
    """The network's tensors, and the averages of its weights where they are kept."""
    state = learner.state()
    averages = {f"average.{name}": tensor for name, tensor in state.ema.items() if not name.endswith(STATISTICS)}
    return {**state.model, **averages}


def _make_learner(job: TrainingJob) -> Any:
    if job.config.framework == "torch":
        from scenerec.training.torch_learner import TorchLearner

        return TorchLearner(job, World())
    from scenerec.training.tf_learner import TfLearner

    return TfLearner(job, World())


def _watch(batches: Iterator[Any], digests: list[str], reverse: bool) -> Iterator[Any]:
    for batch in batches:
        pixels, labels = batch.images.numpy(), batch.labels.numpy()
        pixels = pixels.transpose(0, 2, 3, 1) if pixels.shape[1] == 3 else pixels  # as TensorFlow has them
        digests.append(hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest())
        yield tree_map(_reversed, batch) if reverse else batch


def _reversed(value: Any) -> Any:
    return value.flip(0) if isinstance(value, torch.Tensor) else value
