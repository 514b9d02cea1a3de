import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.inference.bundles.bundle import CARD_FILE, Bundle, write_bundle
from scenerec.inference.bundles.info import Verification
from tests.measured import validation
from tests.tiny_bundle import make_tiny_bundle

CLASSES = ("a red", "b green", "c blue")
"""In the order of a packed set, which is that of the alphabet."""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    verified = Verification(images=4, batch_sizes=(1,), max_difference=1e-6, top1_agreement=1.0)
    make_tiny_bundle(tmp_path / "bundle", verification=verified)
    return tmp_path / "bundle"


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A packed set of 176 images of one colour each, of which 8 are red and nearly green."""
    folder = tmp_path_factory.mktemp("shades")
    for index in range(176):
        label, shade = index % 3, 100 + index // 3
        colour = [0, 0, 0]
        colour[label] = shade
        if label == 0 and index < 8 * 3:
            colour[1] = shade - 1 - index // 3
        (folder / "images" / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), tuple(colour)).save(folder / "images" / CLASSES[label] / f"{index}.png")
    pack(PackRequest(source=folder / "images", destination=str(folder / "packed"), options=PackOptions()))
    return str(folder / "packed")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_REGISTRY", str(tmp_path / "registry"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["registry", *map(str, arguments)])


@pytest.mark.usefixtures("registry")
def test_a_version_shows_what_was_measured_and_its_card(tmp_path: Path) -> None:
    measured = validation(temperature=1.5, abstain_below=0.7)
    bundle = make_tiny_bundle(tmp_path / "bundle", validation=measured)
    run("push", bundle.url)
    assert "has no MODEL_CARD.md, as it is older than them: export it again" in str(
        run("show", "tiny", "--card").output
    )
    write_bundle(bundle.url, bundle.info, {**files_of(bundle), CARD_FILE: b"# tiny"})
    run("push", bundle.url)
    assert run("show", "tiny", "--card").output == "# tiny\n"
    shown = run("show", "tiny").output
    assert "top-1 75.00% on 8 images, temperature 1.500: calibration error 30.00% -> 10.00%" in shown
    assert "below 0.7000: answers 50.0%, 95.00% of them rightly" in shown


def files_of(bundle: Bundle) -> dict[str, bytes]:
    return {name: (bundle.folder / name).read_bytes() for name in bundle.info.files}


@pytest.mark.usefixtures("registry")
def test_from_push_to_rollback(bundle: Path) -> None:
    assert "no models" in run("list").output
    assert run("push", bundle).output.startswith("tiny:1 at ")
    assert json.loads(run("push", bundle, "--json").output)["version"] == 2
    first = run("promote", "tiny:1")
    assert first.output.startswith("tiny@production: 1, answers its golden images"), first.output
    assert "it stood there already" in run("promote", "tiny:1").output
    assert "1 -> 2, forced" in run("promote", "tiny:2", "--force").output
    assert "2 -> 1, rolled back" in run("rollback", "tiny").output
    assert "tiny   1-2       production -> 1" in run("list").output
    shown = run("show", "tiny@production").output
    assert "tiny:1 (production)" in shown and "rolled back from 2" in shown
    refused = run("delete", "tiny:1")
    assert refused.exit_code == 9
    assert run("delete", "tiny:2").exit_code == 0
    assert json.loads(run("list", "--json").output) == [
        {"model": "tiny", "versions": [1], "aliases": {"production": 1}}
    ]


@pytest.mark.usefixtures("registry")
def test_what_is_wrong_is_one_line(bundle: Path) -> None:
    run("push", bundle)
    for arguments, code in (
        (("show", "other"), 9),
        (("promote", "tiny:7"), 9),
        (("rollback", "tiny"), 9),
        (("delete", "tiny"), 9),
        (("push", bundle.parent), 8),
        (("promote", "tiny:1", "tiny@production"), 9),
    ):
        result = run(*arguments)
        assert result.exit_code == code, result.output
        assert len(result.output.strip().splitlines()) == 1


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    "command", ["show fotos@production", "promote fotos@production", "rollback fotos@production", "delete fotos:1"]
)
def test_the_models_are_told_to_who_names_none_of_them(bundle: Path, command: str) -> None:
    run("push", bundle)
    result = run(*command.split())
    assert result.exit_code == 9
    assert "no model fotos (there are: tiny)" in result.output


@pytest.mark.usefixtures("registry")
def test_an_alias_may_be_named_with_its_model_to_roll_back(bundle: Path) -> None:
    for _ in range(2):
        run("push", bundle)
    run("promote", "tiny:1", "staging")
    run("promote", "tiny:2", "staging", "--force")
    assert "tiny@staging: 2 -> 1, rolled back" in run("rollback", "tiny@staging").output


@pytest.mark.usefixtures("registry")
def test_what_no_endpoint_serves_takes_no_alias_that_may_be_served(bundle: Path, tmp_path: Path) -> None:
    """Nor by force, nor by going back: the endpoint would be left without a version."""
    for _ in range(3):
        run("push", bundle)
    info = tmp_path / "registry/tiny/2/bundle.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "format": "tflite"}))
    run("promote", "tiny:1")
    for arguments in (("promote", "tiny:2"), ("promote", "tiny:2", "--force")):
        refused = run(*arguments)
        assert refused.exit_code == 9
        assert "tiny:2 is a bundle of format tflite, which no endpoint serves" in refused.output
        assert "scenerec registry promote tiny:2 tflite" in refused.output
    assert "tiny@tflite: 2, forced" in run("promote", "tiny:2", "tflite", "--force").output
    assert "2 -> 3, forced" in run("promote", "tiny:3", "tflite", "--force").output
    assert run("rollback", "tiny", "tflite").exit_code == 9


@pytest.mark.usefixtures("registry")
def test_the_accuracy_gate_names_what_it_lacks(bundle: Path) -> None:
    for _ in range(2):
        run("push", bundle)
    run("promote", "tiny:1")
    result = run("promote", "tiny:2")
    assert result.exit_code == 9
    assert "does not say on what it was validated: name a packed set with --data" in result.output


@pytest.mark.usefixtures("registry")
def test_a_loss_that_may_be_chance_passes_and_a_row_of_such_losses_does_not(shades: str, tmp_path: Path) -> None:
    """Each version sees less red than the one before, and so is right on fewer of the images that are nearly green."""
    verified = Verification(images=4, batch_sizes=(1,), max_difference=1e-6, top1_agreement=1.0)
    for lost in range(7):
        reds = 0.05 * (1 - (lost + 0.5) / 107) if lost else 0.05
        make_tiny_bundle(tmp_path / str(lost), scale=(reds, 0.05, 0.05), labels=CLASSES, verification=verified)
        run("push", tmp_path / str(lost), "shades")
    assert "1, answers its golden images" in run("promote", "shades:1").output
    passed = run("promote", "shades:2", "--data", shades)
    assert passed.exit_code == 0, passed.output
    assert "top-1 99.43% against 100.00% on the same 176 images: -0.57 points (95 % interval " in passed.output
    assert "which may be chance (p = 1)" in passed.output
    assert "production  (candidates are compared with 1)" in run("show", "shades").output
    for number in (3, 4, 5, 6):
        passed = run("promote", f"shades:{number}", "--data", shades)
        assert passed.exit_code == 0 and "may be chance" in passed.output, passed.output
    refused = run("promote", "shades:7", "--data", shades)
    assert refused.exit_code == 9
    assert "shades/7: is worse than" in refused.output and "shades/1: top-1 96.59% against 100.00%" in refused.output
    assert "more than chance explains (p = 0.031), and at most 0.5 points may be lost: not promoted" in refused.output
    assert len(refused.output.splitlines()) == 1
    assert run("promote", "shades:7", "--data", shades, "--max-top1-drop", "5").exit_code == 0
    assert run("promote", "shades:6", "--force").exit_code == 0  # from here on it is what others are compared with
    assert "+0.57 points" in run("promote", "shades:5", "--data", shades).output
