"""A run's preprocessing: from its config, its checkpoints or its first weights, into all that is made of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save, save_file

from scenerec.checkpoint import read_run_state
from scenerec.config.data import DataConfig
from scenerec.data.packed_set import open_set
from scenerec.errors import CheckpointError, ModelError
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.predictors.open_predictor import open_predictor
from scenerec.inference.predictors.predictor import Predictor
from scenerec.inference.predictors.trained_model import load_trained
from scenerec.models import torch_model
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing
from scenerec.models.weights.conversion import convert
from scenerec.models.weights.preprocessing import find_preprocessing
from scenerec.training.preflight import check_job, plan_job
from scenerec.training.run_folder import RunFolder
from tests.local_run import train_here
from tests.web import WebServer

ARCH = "squeezenet1_1"
OTHER = WeightPreprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bicubic", eval_crop_ratio=0.95)
SET = OTHER.model_dump(mode="json")


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file of ours, whose header tells its preprocessing."""
    state = torch_model.state(torch_model.build(ARCH, 4, seed=7))
    save_file(state, tmp_path / "w.safetensors", {"arch": ARCH, **OTHER.metadata})
    return f"{tmp_path}/w.safetensors"


def loss_by(predictor: Predictor, data: str) -> float:
    """The mean cross-entropy of a packed set, as evaluation, serving and export prepare its images."""
    packed = open_set(data)
    (batch,) = image_batches(packed, range(packed.manifest.samples), Preparation.of(predictor), packed.manifest.samples)
    probabilities = predictor.probabilities(batch.images)
    return float(-np.log(probabilities[np.arange(len(batch.labels)), batch.labels]).mean())


def test_published_weights_are_known_by_name_and_by_their_file() -> None:
    b0 = find_preprocessing("IMAGENET1K_V1", "efficientnet_b0")
    assert b0 == IMAGENET.changed(interpolation="bicubic")
    assert find_preprocessing("/copies/efficientnet_b0_rwightman-7f5810bc.pth", None) == b0
    assert find_preprocessing("/copies/vit_base_patch16_clip_224.openai.safetensors", None).mean[0] == 0.48145466
    for unknown in ("none", "/nowhere/own.pth", "https://example.org/own.pth"):
        assert find_preprocessing(unknown, ARCH) == IMAGENET


def test_a_plan_takes_that_of_its_weights_and_the_config_has_the_last_word(make_config: Any, weights: str) -> None:
    model = {"arch": ARCH, "weights": weights}
    plan = check_job(make_config(model=model)).plan
    assert plan.preprocessing == OTHER == plan_job(make_config(model=model)).preprocessing
    assert dict(plan.rows())["pixels"] == "mean 0.5 0.5 0.5, deviation 0.25 0.25 0.25; bicubic, crop ratio 0.95"
    assert plan.as_dict()["preprocessing"] == SET
    chosen = check_job(make_config(model=model, data={"interpolation": "bilinear", "eval_crop_ratio": 0.8})).plan
    assert chosen.preprocessing == OTHER.changed(interpolation="bilinear", eval_crop_ratio=0.8)
    assert check_job(make_config()).plan.preprocessing == IMAGENET


def test_weights_at_a_url_tell_theirs_once_they_are_in_the_store(make_config: Any, web: WebServer) -> None:
    state = torch_model.state(torch_model.build(ARCH, 4, seed=7))
    url = web.serve("/w.safetensors", save(state, {"arch": ARCH, **OTHER.metadata}))
    config = make_config(model={"arch": ARCH, "weights": url})
    assert check_job(config).plan.preprocessing == OTHER
    web.stop()
    assert plan_job(config).preprocessing == OTHER


def test_a_header_that_tells_none_is_refused(tmp_path: Path) -> None:
    for told, problem in (("{", "JSON"), ('{"std": [0, 1, 1]}', "above 0"), ('{"mode": 3}', "mode")):
        save_file({"a": np.zeros(1, np.float32)}, tmp_path / "w.safetensors", {"preprocessing": told})
        with pytest.raises(ModelError, match=rf"w\.safetensors: preprocessing: .*{problem}") as error:
            find_preprocessing(f"{tmp_path}/w.safetensors", None)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"mean": (0.5, 0.5, 0.5)}, "mean: goes with std: give both, or leave both to model.weights"),
        ({"std": (0.5, 0.5, 0.5)}, "std: goes with mean"),
        ({"mean": (123, 117, 104), "std": (1, 1, 1)}, "less than or equal to 1"),
        ({"mean": (0, 0, 0), "std": (0, 1, 1)}, "greater than 0"),
        ({"interpolation": "nearest"}, "'bilinear' or 'bicubic'"),
    ],
)
def test_what_is_no_preprocessing_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        DataConfig(train="/a", val="/b", **fields)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_run_carries_its_own_to_whatever_begins_with_it(make_config: Any, tmp_path: Path, framework: str) -> None:
    """Through checkpoints, a resume, a converted file, the run that begins with it; an older one has ImageNet's."""
    blocks: dict[str, Any] = {"framework": framework, "model": {"arch": ARCH}, "optimize": {"epochs": 1}}
    config = make_config(data={**SET, "augment": {"color_jitter": 0.3}}, **blocks)
    train_here(config)
    model = load_trained(config.run_url)
    (history,) = RunFolder(config.run_url).read_history()
    assert history.validation["val_loss"] == pytest.approx(
        loss_by(open_predictor(config.run_url), config.data.val), rel=1e-4
    )
    assert WeightPreprocessing.of_data(model.preprocessing.model_dump()) == OTHER
    longer = {**blocks, "optimize": {"epochs": 2}}
    assert check_job(make_config(**longer)).plan.preprocessing == OTHER  # the config does not say it
    with pytest.raises(CheckpointError, match=r"another data\.interpolation \('bicubic', now 'bilinear'\)"):
        check_job(make_config(data={"interpolation": "bilinear"}, **longer))
    assert check_job(make_config(**longer), restart=True).plan.preprocessing == IMAGENET

    convert(config.run_url, f"{tmp_path}/converted.safetensors", "safetensors")
    for first in (config.run_url, f"{tmp_path}/converted.safetensors"):
        second = make_config(name="second", model={"arch": ARCH, "weights": first})
        assert check_job(second).plan.preprocessing == OTHER

    folder = RunFolder(config.run_url)
    newest = folder.latest_checkpoint()
    state = json.loads(folder.checkpoints.get(f"{newest}/state.json"))
    for field in ("mean", "std", "interpolation"):
        del state["config"]["data"][field], state["identity"][f"data.{field}"]
    folder.checkpoints.put(f"{newest}/state.json", json.dumps(state).encode())
    assert newest is not None and "data.mean" not in read_run_state(folder.checkpoints, newest).identity
    assert plan_job(make_config(**longer)).preprocessing == IMAGENET.changed(eval_crop_ratio=0.95)
    with pytest.raises(CheckpointError, match=r"another data\.mean \(\[0\.485, 0\.456, 0\.406\], now \[0\.5"):
        check_job(make_config(data=SET, **longer))
