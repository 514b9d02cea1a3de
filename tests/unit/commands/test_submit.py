"""What `scenerec submit` says about a job's weights before anything starts."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.config.file import dump_config
from scenerec.config.train import TrainConfig
from scenerec.models import torch_model
from tests.web import WebServer


@pytest.fixture
def dry_run(make_config: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """(weights, arguments) -> what a dry run answers; without a cluster."""
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def run(weights: str, *arguments: str) -> Result:
        config = make_config(model={"arch": "squeezenet1_1", "weights": weights})
        (tmp_path / "train.yaml").write_text(dump_config(config))
        return CliRunner().invoke(app, ["submit", str(tmp_path / "train.yaml"), "--dry-run", *arguments])

    return run


def squeezenet(classes: int, arch: str = "squeezenet1_1") -> bytes:
    file = io.BytesIO()
    torch.save(torch_model.build(arch, classes, seed=1).state_dict(), file)
    return file.getvalue()


def test_the_plan_says_what_becomes_of_the_head(dry_run: Callable, web: WebServer) -> None:
    url = web.serve("/w.pth", squeezenet(classes=9))
    words = f"{url}, head classifier.1 replaced (9 -> 4 classes)"
    shown = dry_run(url)
    assert shown.exit_code == 0, shown.stderr
    assert f"weights   {words}\n" in shown.stdout
    assert json.loads(dry_run(url, "--json").stdout)["weights"] == words
    assert web.requests == ["/w.pth"]


def test_random_weights_are_said_to_be(dry_run: Callable) -> None:
    assert "weights   random, by optimize.seed 0\n" in dry_run("none").stdout


def test_the_plan_says_from_how_many_images_statistics_come(dry_run: Callable) -> None:
    """Of a run of 12 steps, in which a ResNet's running averages would keep a quarter of the initial values."""
    shown = dry_run("none", "--set", "model.arch=resnet18")
    assert (
        "BatchNorm statistics from 96 training images, at each validation and checkpoint before step 110\n"
    ) in shown.stdout
    plan = json.loads(dry_run("none", "--set", "model.arch=resnet18", "--json").stdout)
    assert plan["precise_batchnorm"] == {"images": 96, "batch_size": 32, "until_step": 110, "passes": 1}
    for other in ("model.arch=squeezenet1_1", "optimize.precise_batchnorm=never"):
        shown = dry_run("none", "--set", "model.arch=resnet18", "--set", other)
        assert shown.exit_code == 0 and "BatchNorm" not in shown.stdout
    refused = dry_run("none", "--set", "optimize.precise_batchnorm=sometimes")
    assert refused.exit_code != 0 and "optimize.precise_batchnorm" in refused.stderr


def test_weights_that_do_not_fit_end_it_with_one_line(dry_run: Callable, web: WebServer) -> None:
    shown = dry_run(web.serve("/w.pth", squeezenet(4, arch="squeezenet1_0")))
    assert shown.exit_code == 6
    *_, last = shown.stderr.splitlines()
    assert last.startswith(f"error: model.weights: {web.url}/w.pth: the weights do not fit squeezenet1_1: missing ")


def test_the_plan_says_what_was_taken_off_and_which_weights_are_taken(dry_run: Callable, tmp_path: Path) -> None:
    state = torch_model.build("squeezenet1_1", 4, seed=1).state_dict()
    prefixed = {f"_orig_mod.model.{key}": tensor for key, tensor in state.items()}
    average = {f"module.{key}": tensor + 1 for key, tensor in state.items()}
    torch.save({"model": prefixed, "model_ema": {"n_averaged": torch.tensor(3), **average}}, tmp_path / "W.CKPT")
    path = f"{tmp_path}/W.CKPT"
    shown = dry_run(path)
    assert shown.exit_code == 0, shown.stderr
    assert f"weights   {path}, without _orig_mod. and model. before its keys\n" in shown.stdout
    averaged = dry_run(path, "--set", "model.weights_ema=true")
    assert f"weights   {path}, its moving averages, without module. before its keys\n" in averaged.stdout
    none = dry_run("none", "--set", "model.weights_ema=true")
    assert none.exit_code == 2
    assert "model.weights_ema: there are no weights: name a file, a checkpoint or a run in weights" in none.stderr


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["optimize.global_batch_size=2", "scale.workers=2"],
            "optimize.global_batch_size: 2 on 2 worker(s) leaves fewer",
        ),
        (["optimize.global_batch_size=4", "scale.workers={min: 1, max: 3}"], "4 on 3 worker(s) leaves fewer than 2"),
        (["optimize.lr=.inf"], "optimize.lr: must be a finite number, not inf"),
        (["optimize.epochs=true"], "optimize.epochs: must be a whole number, not true"),
        (["optimize.epochs=1", "optimize.warmup_epochs=1"], "1 must be less than epochs (1): lower it, such as to 0.1"),
    ],
)
def test_numbers_that_a_run_would_fail_by_are_refused_before_it(
    framework: str, overrides: list[str], said: str, dry_run: Callable
) -> None:
    sets = [part for each in ("model.arch=resnet18", *overrides) for part in ("--set", each)]
    shown = dry_run("none", "--set", f"framework={framework}", *sets)
    assert shown.exit_code == 2
    (line,) = shown.stderr.splitlines()
    assert said in line
