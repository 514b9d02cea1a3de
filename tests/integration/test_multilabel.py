"""A job on the cluster that learns several labels an image: what two workers come to together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scenerec.config.train import TrainConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic_multilabel import draw_collages
from scenerec.training.run_folder import RunFolder
from tests.local_run import train_here
from tests.submitted import submit_document


@pytest.mark.parametrize("framework", ["tensorflow", pytest.param("torch", marks=pytest.mark.matrix)])
def test_two_workers_come_to_the_mean_average_precision_of_one(
    make_config: Callable[..., TrainConfig], stored_scenes: str, tmp_path: Path, framework: str
) -> None:
    """The validation set is shared out unevenly. What is frozen sees no batch, so that its shares do not matter."""
    draw_collages(tmp_path / "collages", classes=4, train=48, val=25, size=48)
    packed = f"s3://scenes/collages-{framework}"
    pack(PackRequest(source=tmp_path / "collages", destination=packed, options=PackOptions(shard_mb=0.03)))
    blocks: dict[str, Any] = {
        "task": "multilabel",
        "data": {"train": f"{packed}/train", "val": f"{packed}/val", "image_size": 32, "lanes": 12},
        "model": {"arch": "resnet18", "freeze": "backbone"},
        "optimize": {"epochs": 1, "global_batch_size": 16, "lr": 0.5},
    }
    one = make_config(name="one", **blocks)
    train_here(one)
    name = f"multilabel-{framework}"
    document = {"kind": "train", "name": name, "framework": framework, "output": "s3://scenes/runs", **blocks}
    done = submit_document(tmp_path / "train.yaml", {**document, "scale": {"workers": 2}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mAP" in done.stdout + done.stderr
    ours, theirs = (RunFolder(url).read_history()[-1] for url in (one.run_url, f"s3://scenes/runs/{name}"))
    assert theirs.workers == 2
    assert theirs.train_loss == pytest.approx(ours.train_loss, rel=1e-3)
    assert theirs.validation["val_loss"] == pytest.approx(ours.validation["val_loss"], rel=1e-3)
    assert theirs.validation["val_map"] == pytest.approx(ours.validation["val_map"], abs=0.02)
