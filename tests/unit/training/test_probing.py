"""A probe, in this process: features once, the same in both frameworks; heads; and a winner that is like a run."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from scenerec.config.probe import ProbeConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.errors import CheckpointError, DataError, ModelError, PlanError
from scenerec.inference.evaluation.evaluator import EvaluationRequest, examine_here
from scenerec.inference.predictors.trained_model import load_trained
from scenerec.job_log import Event, Note
from scenerec.json_object import JsonObject
from scenerec.models import torch_model
from scenerec.models.weights.files import read_weights, write_weights
from scenerec.training.probing.backbone import read_backbone
from scenerec.training.probing.features import FeatureFolder, FeatureTask, open_sets
from scenerec.training.probing.plan import check_probe
from scenerec.training.probing.prober import compute_here, probe

ARCH = "mobilenet_v3_small"
Make = Callable[..., ProbeConfig]


def probe_config(scenes: Path, output: Path, /, **blocks: Any) -> ProbeConfig:
    document: dict[str, Any] = {
        "kind": "probe",
        "name": "which",
        "framework": "torch",
        "data": {"train": f"{scenes}/train", "val": f"{scenes}/val", "image_size": 32},
        "backbones": [{"arch": ARCH}],
        "linear": {"decays": [0.1, 1.0]},
        "output": str(output),
    }
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return ProbeConfig.model_validate(document)


@pytest.fixture
def make(scenes: Path, tmp_path: Path) -> Make:
    """Probes over 100 scenes, judged on 36; keywords are merged into the blocks."""
    return partial(probe_config, scenes, tmp_path / "runs")


def without_times(result: JsonObject) -> list[JsonObject]:
    return [{key: value for key, value in row.items() if key != "feature_seconds"} for row in result["backbones"]]


def test_a_killed_probe_goes_on_and_another_one_finds_the_features(make: Make) -> None:
    config = make(backbones=[{"arch": ARCH}, {"arch": ARCH, "image_size": 48}])
    made: list[FeatureTask] = []

    def compute(tasks: Iterable[FeatureTask], most: int | None = None) -> Iterator[int]:
        for task in islice(tasks, most):
            made.append(task)
            yield from compute_here([task])
        if most:
            raise KeyboardInterrupt

    planned = check_probe(config)
    assert planned.missing_bytes == planned.feature_bytes == 2 * 136 * 576 * 4
    with pytest.raises(KeyboardInterrupt):
        probe(config, partial(compute, most=3))
    done, told, progress = len(made), list[Event](), list[tuple[int, int]]()
    there = check_probe(config)
    assert done == 3 and there.missing_bytes < planned.missing_bytes and "are there" in dict(there.rows())["features"]
    result = probe(config, compute, told.append, lambda *images: progress.append(images))
    assert len(made) == len(set(made)) == 2 * there.shards  # without a gap or a repeat
    assert progress[0][0] > 0 and progress[-1] == (272, 272)
    assert [row["image_size"] for row in result["backbones"]] and len(told) == 2 and isinstance(told[0], Note)

    again = probe(make(name="again", backbones=[{"arch": ARCH, "image_size": 48}, {"arch": ARCH}]), compute)
    assert again["computed_images"] == 0 and without_times(again) == without_times(result)
    with pytest.raises(CheckpointError, match="this probe is finished"):
        check_probe(config)
    assert check_probe(config, restart=True).missing_bytes == 0


def test_the_winner_is_like_a_run(make: Make, tmp_path: Path) -> None:
    """Its checkpoint answers as the probe has counted, and begins a training."""
    config = make()
    result = probe(config)
    trained = load_trained(config.run_url)
    assert (trained.network.arch, trained.network.classes, trained.preprocessing.image_size) == (ARCH, 4, 32)
    assert trained.config["model"]["freeze"] == "backbone" and trained.origin and trained.origin.weights == "random"
    subject = {"target": config.run_url}
    request = EvaluationRequest.model_validate({"subject": subject, "data": config.data.val, "batch_size": 16})
    (found,) = examine_here(request).evaluations
    row = result["backbones"][0]
    assert (found.top1, found.top5) == (row["linear_top1"], row["linear_top5"])
    assert found.loss == pytest.approx(row["linear_loss"], rel=1e-5)
    assert result["best"]["val_top1"] == row["linear_top1"] > 0.25 < row["knn_top1"]
    page = Path(result["report"]).read_text()
    assert f"{row['linear_top1']:.2%}" in page and ARCH in page
    assert json.loads(Path(config.run_url, "result.json").read_text()) == result
    further = make(name="further", backbones=[{"arch": ARCH, "weights": config.run_url}])
    assert probe(further)["backbones"][0]["linear_top1"] == row["linear_top1"]  # its backbone is the same


@pytest.mark.slow
def test_both_frameworks_give_the_same_features_and_heads(make: Make) -> None:
    found, results = [], []
    for framework in ("torch", "tensorflow"):
        config = make(name=framework, framework=framework)
        results.append(probe(config)["backbones"][0])
        folder = FeatureFolder(config, read_backbone(config, 0)[0], config.data.patience)
        found.append([folder.read(data) for data in open_sets(config, config.data.patience).values()])
    for ours, theirs in zip(*found, strict=True):
        assert np.array_equal(ours.labels, theirs.labels)
        assert np.abs(ours.rows - theirs.rows).max() <= 1e-5 * np.abs(ours.rows).max()
    assert results[0]["decay"] == results[1]["decay"]
    for value in ("linear_loss", "train_loss"):
        assert results[0][value] == pytest.approx(results[1][value], rel=1e-3)


def test_any_weights_are_a_backbone_and_those_of_another_network_are_not(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    write_weights(str(file), "safetensors", torch_model.state(torch_model.build(ARCH, 7, 1)), ARCH, 7, 32)
    backbone, state = read_backbone(make(backbones=[{"arch": ARCH, "weights": str(file)}]), 0)
    kept = read_weights(str(file)).state
    assert set(kept) - set(state) == {"classifier.3.weight", "classifier.3.bias"}
    assert all(np.array_equal(array, kept[key]) for key, array in state.items())
    assert backbone.digest != read_backbone(make(), 0)[0].digest != read_backbone(make(seed=1), 0)[0].digest
    with pytest.raises(ModelError, match=rf"backbones.1.weights: .* are of {ARCH}, and backbones.1.arch is resnet18"):
        check_probe(make(backbones=[{"arch": ARCH}, {"arch": "resnet18", "weights": str(file)}]))
    with pytest.raises(ModelError, match=r"backbones.0.weights: .*no weights are there"):
        check_probe(make(backbones=[{"arch": ARCH, "weights": str(tmp_path / "nothing")}]))
    with pytest.raises(PlanError, match=r"backbones.0.arch: squeezenet1_1 does not end in a linear layer"):
        check_probe(make(backbones=[{"arch": "squeezenet1_1"}]))


def test_features_that_are_damaged_are_named(make: Make) -> None:
    config = make()
    probe(config)
    folder = FeatureFolder(config, read_backbone(config, 0)[0], config.data.patience)
    key = next(info.key for info in folder.storage.list() if info.key.endswith(".safetensors"))
    folder.storage.put(key, folder.storage.get(key)[:-5])
    with pytest.raises(DataError, match=rf"{key}: is damaged: delete it"):
        probe(config)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"backbones": []}, "at least 1 item"),
        ({"backbones": [{"arch": ARCH}, {"arch": ARCH, "weights": "none"}]}, f"{ARCH} \\(random\\) stands twice"),
        ({"backbones": [{"arch": "inception_v3"}]}, "backbones.0.image_size: inception_v3 takes images of at least 75"),
        ({"data": {"balance": 1.0}}, "data.balance: each image is seen once: leave it out"),
        ({"data": {"augment": {"hue": 0.1}}}, "data.augment: each image is seen once, as validation sees it"),
        ({"linear": {"decays": [0.0]}}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Make, blocks: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**blocks)


def packed(folder: Path, classes: dict[str, int]) -> Path:
    """A set with so many training images of each class, and one of each to judge on."""
    for split in ("train", "val"):
        for number, (name, count) in enumerate(classes.items()):
            (folder / "images" / split / name).mkdir(parents=True)
            for image in range(count if split == "train" else 1):
                colour = (60 * number + image, 30 * image, 200 if split == "val" else 90)
                Image.new("RGB", (40, 40), colour).save(folder / "images" / split / name / f"{split}{image}.png")
    pack(PackRequest(source=folder / "images", destination=str(folder / "packed")))
    return folder / "packed"


def test_odd_sets(make: Make, tmp_path: Path) -> None:
    one = packed(tmp_path / "one", {"hut": 3})
    with pytest.raises(PlanError, match=r"has one class, 'hut', and no other to tell it from"):
        check_probe(make(data={"train": f"{one}/train", "val": f"{one}/val"}))
    single = packed(tmp_path / "single", {"hut": 1, "lake": 1})
    with pytest.raises(PlanError, match=r"data.val: its classes are not those of data.train"):
        check_probe(make(data={"val": f"{single}/val"}))
    config = make(data={"train": f"{single}/train", "val": f"{single}/val"})
    assert dict(check_probe(config).rows())["decay"].startswith("1: no class has two training images")
    row = probe(config)["backbones"][0]
    assert row["decay"] == 1.0 and row["held_back_losses"] == {} and np.isfinite(row["linear_loss"])
