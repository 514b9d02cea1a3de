"""YAML of every oddity, as `scenerec validate` takes or refuses it: one line each, never a traceback."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.config.block import Block
from scenerec.config.file import KINDS
from scenerec.config.space import Parameter
from scenerec.config.yaml_text import dump_document, load_value

JOB = """\
kind: train
name: first
framework: torch
data: {train: s3://scenes/train, val: s3://scenes/val}
model: {arch: resnet18}
optimize:
  epochs: 2
  global_batch_size: 32
  lr: 0.1
output: s3://scenes/runs
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train.yaml"


def validate(file: Path, content: str | bytes, *options: str) -> Result:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CliRunner().invoke(app, ["validate", str(file), *options])


def taken(file: Path, content: str | bytes, *options: str) -> dict[str, Any]:
    result = validate(file, content, *options)
    assert result.exit_code == 0, (result.output, result.exception)
    again = validate(file, result.stdout)
    assert again.stdout == result.stdout  # what is printed is read as the same
    document: dict[str, Any] = yaml.safe_load(result.stdout)
    return document


def refused(file: Path, content: str | bytes, *options: str) -> str:
    result = validate(file, content, *options)
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = result.stderr.splitlines()
    return line.removeprefix(f"error: {file}:").removeprefix("error: ")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e-1", 0.1),
        ("1E-1", 0.1),
        ("1e0", 1.0),
        (".1", 0.1),
        ("+0.1", 0.1),
        ("1_0", 10.0),
        ("010", 10.0),
        ("0x10", 16),
    ],
)
def test_numbers_are_those_of_yaml_1_2(written: str, read: float, file: Path) -> None:
    assert taken(file, JOB.replace("lr: 0.1", f"lr: {written}"))["optimize"]["lr"] == read
    assert taken(file, JOB, "--set", f"optimize.lr={written}")["optimize"]["lr"] == read


@pytest.mark.parametrize(
    ("field", "written", "said"),
    [
        ("lr", ".inf", "finite number, not inf"),
        ("lr", "-.INF", "finite number, not -inf"),
        ("lr", ".nan", "finite number, not nan"),
        ("lr", "1e400", "finite number, not inf"),
        ("lr", "true", "must be a number, not true"),
        ("lr", '"0.1"', "must be a number, not '0.1'"),
        ("lr", "1:30", "must be a number, not '1:30'"),
        ("lr", "2026-11-30", "must be a number, not '2026-11-30'"),
        ("epochs", "true", "must be a whole number, not true"),
        ("epochs", "on", "must be a whole number, not true"),
        ("epochs", '"2"', "must be a whole number, not '2'"),
    ],
)
def test_a_number_is_a_finite_number_and_nothing_else(field: str, written: str, said: str, file: Path) -> None:
    line, old = (7, "epochs: 2") if field == "epochs" else (9, "lr: 0.1")
    found = refused(file, JOB.replace(old, f"{field}: {written}"))
    assert found.startswith(f"{line}: optimize.{field}: ")
    assert said in found
    option = f"optimize.{field}={written}"
    assert refused(file, JOB, "--set", option).startswith(f"--set {option}: optimize.{field}: ")


def fields(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    for name, field in model.model_fields.items():
        yield model, name
        yield from (each for kind in models_in(field.annotation) for each in fields(kind))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from models_in(part)


ANYTHING = (Parameter, "choice")  # its values are checked as the field's that they are for
ALL_FIELDS = sorted({each for kind in KINDS.values() for each in fields(kind)} - {ANYTHING}, key=str)


@pytest.mark.parametrize("value", [True, "1", math.inf, -math.inf, math.nan])
def test_no_number_of_any_config_is_something_else(value: Any) -> None:
    """Of every field by itself: what it says of `value` where it takes 1, 0.5 or a pair of such."""
    numbers = 0
    for model, field in ALL_FIELDS:
        assert issubclass(model, Block), model
        for number in (1, 0.5, [0.5, 1], [0, 1]):
            if (
                is_taken(model, field, number)
                and not is_taken(model, field, "text")
                and not is_taken(model, field, "yes")
            ):
                numbers += 1
                wrong = [number[0], value] if isinstance(number, list) else value
                assert not is_taken(model, field, wrong), (model.__name__, field, wrong)
    assert numbers > 60


def is_taken(model: type[BaseModel], field: str, value: Any) -> bool:
    try:
        model.model_validate({field: value})
    except ValidationError as error:
        return not any(each["loc"][:1] == (field,) for each in error.errors())
    return True


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbf" + JOB.encode(), "first"),
        (JOB.replace("\n", "\r\n"), "first"),
        (JOB.replace("first", "2026-11-30"), "2026-11-30"),
        (JOB.replace("first", "2026-13-45"), "2026-13-45"),
        (JOB.replace("first", "'on'"), "on"),
        (JOB.replace("first", '"1e3"'), "1e3"),
        (JOB.replace("first", '"0x1f"'), "0x1f"),
        (JOB.replace("first", '"010"'), "010"),
    ],
)
def test_what_people_mean_as_a_word_is_one(content: str | bytes, name: str, file: Path) -> None:
    assert taken(file, content)["name"] == name


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", " is empty; see jobs/recipes"),
        ("# nothing\n", " is empty; see jobs/recipes"),
        ("- a\n", "1: must be a mapping of keys"),
        ("text", "1: must be a mapping of keys"),
        (JOB.replace("  epochs", "\tepochs"), "7: is not YAML: found character '\\t'"),
        (JOB + "name: x\n", "11: name: stands twice; remove one"),
        (JOB + "x: &a {<<: *a}\n", "11: x.<<: leads back into itself by an alias"),
        (JOB + "x: &a [*a]\n", "11: x.0: leads back into itself by an alias"),
        (LAUGHS, "5: e: aliases make more than 100000 values of it"),
        (JOB.encode("utf-16"), " cannot be read: not a text file in UTF-8"),
        ("name: caf\xe9\n".encode("latin-1"), " cannot be read: not a text file in UTF-8"),
        ("a\0b", " is not YAML: unacceptable character #x0000"),
        (JOB.replace("2\n", "9" * 6000 + "\n", 1), "7: '999999999999...9999999999999' is too large a number"),
        (JOB.replace("2\n", "0x" + "f" * 60000 + "\n", 1), "7: '0xffffffffff...fffffffffffff' is too large a number"),
        (JOB + f"x: {'[' * 3000}{']' * 3000}\n", "11: is nested too deeply"),
        (JOB + f"x: {'[' * 60}{']' * 60}\n", "11: is nested too deeply"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(1500)), "40: is nested too deeply"),
        (JOB.replace("first", "on"), "2: name: "),
        (JOB.replace("first", "no"), "2: name: "),
        (JOB.replace("first", "123"), "2: name: "),
        (JOB.replace("first", "!!timestamp abc"), "2: 'abc' cannot be read as timestamp"),
        (JOB.replace("first", "!!bool abc"), "2: 'abc' cannot be read as bool"),
        (JOB.replace("2\n", "!!int abc\n", 1), "7: 'abc' cannot be read as int"),
        (
            JOB.replace("first", "!!python/object/apply:os.getcwd []"),
            "2: is not YAML: could not determine a constructor",
        ),
        (JOB + "on: x\n", "11: on: a key must be a word: put it in quotes"),
        (JOB + "1: x\n", "11: 1: a key must be a word: put it in quotes"),
        (JOB + "~: x\n", "11: ~: a key must be a word: put it in quotes"),
        (JOB + "lr[0]: 1\n", "11: lr[0]: unknown key; "),
        (JOB + '"a\\x1b[31m": 1\n', "11: file: a key must be a word"),
        (JOB + "? [a]\n: x\n", "11: file: a key must be a word"),
        (JOB + "---\na: 1\n", "11: is not YAML: but found another document"),
        (JOB + "x: *nothing\n", "11: is not YAML: found undefined alias 'nothing'"),
        (JOB.replace("first", '"\\ud800"'), "2: name: "),
    ],
)
def test_oddities_are_one_line_that_says_where(content: str | bytes, said: str, file: Path) -> None:
    assert refused(file, content).startswith(said)


def test_a_folder_a_pipe_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path, "Is a directory"),
        (tmp_path / "pipe", "it is a pipe or a device, not a file"),
        ("/dev/zero", "it is a pipe or a device, not a file"),
        (tmp_path / "gone.yaml", "No such file or directory"),
    ):
        result = CliRunner().invoke(app, ["validate", str(path)])
        assert (result.exit_code, result.stderr) == (2, f"error: {path}: cannot be read: {said}\n")


def test_a_shells_pipe_is_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, JOB.encode())
    os.close(writing)
    result = CliRunner().invoke(app, ["validate", f"/dev/fd/{reading}"])
    os.close(reading)
    assert result.exit_code == 0, result.output


words = st.text(st.sampled_from("0123456789.eE+-_xo:yn"), min_size=1, max_size=8)


@given(
    st.dictionaries(
        st.text("abé-1:.", min_size=1, max_size=5), words | st.floats() | st.integers(-(2**53), 2**53) | st.booleans()
    )
)
def test_what_is_dumped_is_read_as_it_was(document: dict[str, Any]) -> None:
    read = load_value(dump_document(document)) or {}
    assert list(read) == list(document)
    assert all(type(read[key]) is type(value) for key, value in document.items())
    assert all(read[key] == value or value != value for key, value in document.items())
