"""A probe, in this process: features once, the same in both frameworks; heads; and a winner that is like a run."""

import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from rich.console import Console

from scenerec.commands.screen.probe_table import show_probe_result
from scenerec.config.probe import ProbeConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.errors import CheckpointError, DataError, ModelError, PlanError
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.evaluation.evaluator import EvaluationRequest, examine_here
from scenerec.inference.predictors.trained_model import load_trained
from scenerec.job_log import Event, Note
from scenerec.json_object import JsonObject
from scenerec.models import torch_model
from scenerec.models.preprocessing import WeightPreprocessing
from scenerec.models.weights.files import read_weights, write_weights
from scenerec.training.probing.backbone import read_backbone
from scenerec.training.probing.features import FeatureFolder, FeatureTask, open_sets, part_key
from scenerec.training.probing.plan import ProbePlan, check_probe
from scenerec.training.probing.prober import compute_here, probe
from tests.probe_config import ARCH, probe_config

Make = Callable[..., ProbeConfig]


@pytest.fixture
def make(scenes: Path, tmp_path: Path) -> Make:
    """Probes over 100 scenes, judged on 36; keywords are merged into the blocks."""
    return partial(probe_config, scenes, tmp_path / "runs")


class Finished(NamedTuple):
    """A probe that was killed and went on."""

    config: ProbeConfig
    result: JsonObject
    told: list[Event]
    progress: list[tuple[int, int]]
    before: list[FeatureTask]
    """What was computed before it was killed."""
    after: list[FeatureTask]
    """What was computed after it."""
    planned: tuple[ProbePlan, ProbePlan]
    """The plans of both submissions."""


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A probe of two backbones, which tests only read."""
    backbones = [{"arch": ARCH}, {"arch": ARCH, "image_size": 48}]
    data = {"interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = probe_config(scenes, tmp_path_factory.mktemp("finished"), backbones=backbones, data=data)
    made: tuple[list[FeatureTask], list[FeatureTask]] = ([], [])
    told, progress = list[Event](), list[tuple[int, int]]()

    def until_killed(tasks: Iterable[FeatureTask]) -> Iterator[int]:
        made[0].extend(islice(tasks, 3))
        yield from compute_here(made[0])
        raise KeyboardInterrupt

    def to_the_end(tasks: Iterable[FeatureTask]) -> Iterator[int]:
        made[1].extend(tasks)
        yield from compute_here(made[1])

    first = check_probe(config)
    with pytest.raises(KeyboardInterrupt):
        probe(config, until_killed)
    second = check_probe(config)
    result = probe(config, to_the_end, told.append, lambda *images: progress.append(images))
    return Finished(config, result, told, progress, *made, (first, second))


def test_a_killed_probe_goes_on_without_a_gap_or_a_repeat(finished: Finished) -> None:
    first, second = finished.planned
    assert first.missing_bytes == first.feature_bytes == 2 * 136 * 1024 * 4
    images = sum(each.missing_images for each in second.backbones)
    assert second.missing_bytes == images * 1024 * 4 == finished.result["computed_images"] * 1024 * 4
    assert len(finished.before) == 3 and len({*finished.before, *finished.after}) == 2 * first.shards
    assert len(finished.before) + len(finished.after) == 2 * first.shards
    assert finished.progress[0] == (272 - images, 272) and finished.progress[-1] == (272, 272)
    assert len(finished.told) == 2 and all(isinstance(event, Note) for event in finished.told)
    with pytest.raises(CheckpointError, match="this probe is finished"):
        check_probe(finished.config)


def test_another_probe_finds_the_features(finished: Finished) -> None:
    config = finished.config.model_copy(update={"name": "again", "backbones": finished.config.backbones[::-1]})
    again = probe(config)
    assert again["computed_images"] == 0
    rows = [
        [{key: value for key, value in row.items() if key != "feature_seconds"} for row in result["backbones"]]
        for result in (again, finished.result)
    ]
    assert rows[0] == rows[1]


def test_the_winner_is_like_a_run(finished: Finished, make: Make) -> None:
    """Its checkpoint answers as the probe has counted, and is a backbone itself."""
    config, result = finished.config, finished.result
    row = result["backbones"][0]
    trained = load_trained(config.run_url)
    assert (trained.network.arch, trained.network.classes) == (ARCH, 4)
    assert trained.preprocessing.image_size == row["image_size"]
    assert (trained.preprocessing.interpolation, trained.preprocessing.mean) == ("bicubic", (0.5, 0.5, 0.5))
    assert trained.config["model"]["freeze"] == "backbone" and trained.origin and trained.origin.weights == "random"
    request = EvaluationRequest.model_validate(
        {"subject": {"target": config.run_url}, "data": config.data.val, "batch_size": 16}
    )
    (found,) = examine_here(request).evaluations
    assert (found.top1, found.top5) == (row["linear_top1"], row["linear_top5"])
    assert found.loss == pytest.approx(row["linear_loss"], rel=1e-5)
    assert result["best"]["val_top1"] == row["linear_top1"] > 0.25 < row["knn_top1"]
    backbone, _ = read_backbone(make(backbones=[{"arch": ARCH, "weights": config.run_url}]), 0)
    assert backbone.digest == read_backbone(config, 0)[0].digest


def test_it_is_reported(finished: Finished) -> None:
    result = finished.result
    page, screen = Path(result["report"]).read_text(), io.StringIO()
    show_probe_result(result, Console(file=screen, width=40))
    for row in result["backbones"]:
        assert f"{row['linear_top1']:.2%}" in page and f"{row['linear_top1']:.2%}" in screen.getvalue()
        assert row["name"] in page and row["name"] in screen.getvalue()
    assert result["comparison"] in screen.getvalue()
    assert json.loads(Path(finished.config.run_url, "result.json").read_text()) == result


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
    own = WeightPreprocessing(interpolation="bicubic", eval_crop_ratio=0.9)
    state = torch_model.state(torch_model.build(ARCH, 7, 1))
    write_weights(str(file), "safetensors", state, ARCH, 7, 32, preprocessing=own)
    backbone, state = read_backbone(make(backbones=[{"arch": ARCH, "weights": str(file)}]), 0)
    assert backbone.preprocessing == Preprocessing.of_weights(own, backbone.preprocessing.image_size)
    kept = read_weights(str(file)).state
    assert set(kept) - set(state) == {"fc.weight", "fc.bias"}
    assert all(np.array_equal(array, kept[key]) for key, array in state.items())
    assert backbone.digest != read_backbone(make(), 0)[0].digest != read_backbone(make(seed=1), 0)[0].digest
    with pytest.raises(ModelError, match=rf"backbones.1.weights: .* are of {ARCH}, and backbones.1.arch is resnet18"):
        check_probe(make(backbones=[{"arch": ARCH}, {"arch": "resnet18", "weights": str(file)}]))
    with pytest.raises(ModelError, match=r"nothing: no weights are there"):
        check_probe(make(backbones=[{"arch": ARCH, "weights": str(tmp_path / "nothing")}]))
    with pytest.raises(PlanError, match=r"backbones.0.arch: squeezenet1_1 does not end in a linear layer"):
        check_probe(make(backbones=[{"arch": "squeezenet1_1"}]))


def test_features_that_are_damaged_are_named(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.config.output, tmp_path / "runs")
    config = finished.config.model_copy(update={"output": str(tmp_path / "runs")})
    folder = FeatureFolder(config, read_backbone(config, 0)[0], config.data.patience)
    data = open_sets(config, config.data.patience)["val"]
    assert len(folder.read(data).labels) == 36
    key = part_key(data, 0)
    folder.storage.put(key, folder.storage.get(key)[:-5])
    with pytest.raises(DataError, match=rf"{key}: is damaged: delete it"):
        folder.read(data)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"backbones": []}, "at least 1 item"),
        ({"backbones": [{"arch": ARCH}, {"arch": ARCH, "weights": "none"}]}, f"{ARCH} \\(random\\) stands twice"),
        ({"backbones": [{"arch": "inception_v3"}]}, "backbones.0.image_size: inception_v3 takes images of at least 75"),
        ({"data": {"balance": 1.0}}, "data.balance: each image is seen once: leave it out"),
        ({"data": {"repeats": 3}}, "data.repeats: each image is seen once: leave it out"),
        ({"data": {"train_size": 32}}, "data.train_size: each image is seen once, as it is evaluated: leave it out"),
        ({"data": {"eval_crops": 10}}, "data.eval_crops: each image is seen once, by its centre: leave it out"),
        ({"data": {"augment": {"hue": 0.1}}}, "data.augment: each image is seen once, as it is evaluated"),
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
