"""`scenerec models`, which must answer without torch."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.commands import models
from scenerec.config.model import ModelConfig
from scenerec.models.status import Status, read_status
from scenerec.models.zoo import ARCHITECTURES, TORCHVISION, more_of_timm
from tests.patience import PATIENCE_S


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """One twin was measured, and nothing else: the real tables change with every measurement."""
    found = {name: Status() for name in ARCHITECTURES} | {"resnet50": Status(twin_difference=2.2e-6)}
    monkeypatch.setattr(models, "read_status", lambda: found)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def test_what_was_measured_is_in_the_list() -> None:
    """The tables as they are shipped."""
    known = read_status()
    found = {each["name"]: each["twin_difference"] for each in json.loads(run("--json").stdout)}
    assert found == {name: known[name].twin_difference for name in ARCHITECTURES}
    assert any(found.values())


@pytest.mark.usefixtures("measured")
def test_the_list_has_a_line_for_each() -> None:
    lines = run().stdout.splitlines()
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line}
    assert rows.keys() >= set(ARCHITECTURES)
    assert rows["ARCHITECTURE"] == "PARAMS GFLOPS IMAGE TOP-1 TWIN ONNX LICENCE"
    assert rows["resnet50"] == "25.6 M 4.09 224 80.9 2e-06 - BSD-3-Clause"
    assert rows["vit_b_16"] == "86.6 M 17.56 224 only 81.9 - - CC-BY-NC-4.0"
    assert rows["efficientnet_b7"] == "66.3 M 5.17 600 84.1 - - BSD-3-Clause"
    assert max(map(len, lines[: len(TORCHVISION)])) <= 80
    assert not any("…" in line for line in lines)


def test_all_lists_timms_others_as_well() -> None:
    names = [each["name"] for each in json.loads(run("--all", "--json").stdout)]
    assert names == [*ARCHITECTURES, *more_of_timm()] and "timm/resnet10t" in names
    assert f"and {len(more_of_timm())} more of timm's: scenerec models --all" in run().stdout
    assert json.loads(run("show", "timm/resnet10t", "--json").stdout)["weights"] == []


@pytest.mark.usefixtures("measured")
def test_the_list_as_json() -> None:
    found = {each["name"]: each for each in json.loads(run("--json").stdout)}
    assert list(found) == list(ARCHITECTURES)
    assert found["resnet50"]["imagenet_top1"] == 80.858
    assert found["resnet50"]["twin_difference"] == 2.2e-6
    assert found["resnet50"]["gflops_224"] == found["resnet50"]["gflops"] == 4.089


@pytest.mark.usefixtures("measured")
def test_show_tells_all_about_one() -> None:
    shown = run("show", "inception_v3").stdout
    assert "27.2 M at 1000 classes" in shown
    assert "2.84 at 224 px, 5.71 at 299 px" in shown
    assert "at least 75 px" in shown
    assert "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth" in shown
    assert "2e-06 from torch's logits" in run("show", "resnet50").stdout


def test_show_ends_with_what_to_write_into_a_job() -> None:
    import yaml

    for arch in ("resnet50", "vit_h_14", "alexnet"):
        document = yaml.safe_load(run("show", arch).stdout.rpartition("\n\n")[2])
        assert document["model"]["arch"] == arch
        assert ModelConfig.model_validate(document["model"]).weights == document["model"]["weights"]
        assert document["data"] == {"image_size": 224}


def test_show_says_what_weights_may_be_used_for() -> None:
    shown = run("show", "vit_h_14").stdout
    assert "CC-BY-NC-4.0: NOT FOR COMMERCIAL USE. Meta hands its weights on so: SWAG's" in shown
    assert "weights: IMAGENET1K_SWAG_LINEAR_V1  # CC-BY-NC-4.0: NOT FOR COMMERCIAL USE" in shown
    weights = json.loads(run("show", "vit_h_14", "--json").stdout)["weights"]
    assert {(each["licence"], each["commercial_use"]) for each in weights} == {("CC-BY-NC-4.0", False)}


def test_show_marks_weights_for_images_of_another_size() -> None:
    assert "(for images of 518 px, which vit_h_14 does not take here)" in run("show", "vit_h_14").stdout
    weights = json.loads(run("show", "vit_h_14", "--json").stdout)["weights"]
    assert [(each["name"], each["fits"]) for each in weights] == [
        ("IMAGENET1K_SWAG_E2E_V1", False),
        ("IMAGENET1K_SWAG_LINEAR_V1", True),
    ]


def test_an_unknown_architecture_is_one_line() -> None:
    shown = run("show", "resnet5O")
    assert shown.exit_code == 6
    assert shown.stderr == (
        "error: unknown architecture 'resnet5O': did you mean 'resnet50'? `scenerec models` lists them all\n"
    )


@pytest.mark.parametrize("arguments", [["models"], ["models", "show", "resnet50", "--json"]])
def test_it_is_quick_because_nothing_heavy_is_imported(arguments: list[str]) -> None:
    heavy = ["torch", "tensorflow", "keras", "ray", "boto3", "pyarrow", "numpy"]
    program = (
        f"import sys; sys.argv = ['scenerec', *{arguments}]\n"
        "from scenerec.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
