"""`scenerec serve key`, and what deploying tells to try."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.commands.serve import example
from scenerec.inference.bundles.registry import Registry
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my keys.yaml"


def key(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["serve", "key", *arguments, "--file", str(file)])


def test_a_key_made_twice_is_refused_and_with_replace_made_anew(file: Path) -> None:
    assert key(file, "mobile").exit_code == 0
    before = file.read_text()
    refused = key(file, "mobile")
    assert refused.exit_code == 2
    assert "mobile has a key already: with `--replace`" in refused.output and len(refused.output.splitlines()) == 1
    assert file.read_text() == before
    assert key(file, "mobile", "--replace").exit_code == 0
    assert [each["name"] for each in yaml.safe_load(file.read_text())["keys"]] == ["mobile"]
    assert file.read_text() != before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("",), "a key: name: must not be empty"),
        (("a", "--burst", "inf"), "a key: burst: must be a finite number"),
        (("a", "--images-per-s", "inf"), "a key: images_per_s: must be a finite number"),
        (("a", "--remove", "--replace"), "give one of them"),
        (("a", "--remove"), "has no key of a; there are: none"),
    ],
)
def test_what_makes_no_key_is_one_line(file: Path, arguments: tuple[str, ...], said: str) -> None:
    refused = key(file, *arguments)
    assert refused.exit_code == 2, refused.output
    assert said in refused.output and len(refused.output.splitlines()) == 1
    assert not file.exists()


def test_numbers_of_replicas_that_contradict_each_other_are_refused() -> None:
    for numbers in (["--replicas", "2", "--min", "0"], ["--replicas", "2", "--max", "4"], []):
        refused = CliRunner().invoke(app, ["serve", "scale", "photos", *numbers])
        assert (refused.exit_code, len(refused.output.splitlines())) == (2, 1), refused.output


def test_what_to_try_asks_with_a_key_where_the_endpoint_wants_one(tmp_path: Path) -> None:
    """In a shell, with programs of these names that say what they are given."""
    for name in ("curl", "scenerec"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n[ "$1" = predict ] && echo $SCENEREC_API_KEY')
        (tmp_path / name).chmod(0o755)

    def shown(api_keys: str | None) -> str:
        lines = example("http://localhost:8000", "photos", api_keys).splitlines()[1:]
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(["sh", "-c", "\n".join(lines)], env=environment, capture_output=True, text=True).stdout

    assert "Authorization" not in shown(None) and "serve key" not in shown(None)
    made = "scenerec serve key NAME --file s3://scenes/my keys.yaml"
    asked = shown("s3://scenes/my keys.yaml")
    assert f"Authorization: Bearer {made} --data-binary @photo.jpg" in asked
    assert asked.splitlines()[-1] == made


@pytest.mark.parametrize(
    ("reference", "code", "said"),
    [
        ("fotos@production", 9, "no model fotos (there are: photos)"),
        ("photos@prod", 9, "photos has no alias prod (there are: production)"),
        ("photos:2", 8, "models: photos: photos:2 is a bundle of format tflite, which no endpoint serves"),
    ],
)
def test_what_cannot_be_deployed_is_named(
    tmp_path: Path, reference: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    registry = Registry(str(tmp_path / "registry"))
    registry.push(bundle, "photos")
    registry.move("photos", "production", 1, "first", None)
    registry.push(bundle, "photos")
    info = tmp_path / "registry/photos/2/bundle.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "format": "tflite"}))
    arguments = ["serve", "deploy", reference, "--dry-run"]
    by_option = CliRunner().invoke(app, [*arguments, "--set", f"registry={registry.url}"])
    monkeypatch.setenv("SCENEREC_REGISTRY", registry.url)
    for refused in (by_option, CliRunner().invoke(app, arguments)):
        assert refused.exit_code == code, refused.output
        assert said in refused.output and len(refused.output.splitlines()) == 1
