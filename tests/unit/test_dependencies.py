"""What pyproject.toml says is so: the product's imports are declared, and the files that it names are there."""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import scenerec
from scenerec.commands.parts import PARTS

ROOT = Path(scenerec.__file__).parents[1]
ROOMS = ("scenerec", "cluster", "jobs", "serve")
TYPES_ONLY = {"mypy_boto3_s3"}
"""Stubs: imported under TYPE_CHECKING alone, they come with the extra dev."""


def declared() -> dict[str, set[str]]:
    """What each part of scenerec depends on, by the part's name; "" has what all have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = {"": project["dependencies"], **project["optional-dependencies"]}
    return {part: {normal(re.split(r"[\[<>=~! ]", line)[0]) for line in lines} for part, lines in parts.items()}


def normal(name: str) -> str:
    """A distribution's name as the packaging standard (PEP 503) compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def distributions() -> Mapping[str, list[str]]:
    """The distributions that bring each top-level module."""
    return packages_distributions()


@cache
def imported() -> dict[str, str]:
    """The top-level modules that are not the product's nor Python's: name -> a file that imports it."""
    found = {}
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found.update({name.partition(".")[0]: str(file.relative_to(ROOT)) for name in names})
    return {name: file for name, file in found.items() if name not in {*ROOMS, *sys.stdlib_module_names}}


@pytest.mark.slow
def test_every_import_is_declared() -> None:
    everything = {name for part, names in declared().items() if part != "dev" for name in names}
    found = imported()
    assert {"numpy", "ray", "torch"} <= found.keys()
    missing = {
        f"{file}: {name}"
        for name, file in found.items()
        if name not in TYPES_ONLY and not everything & {normal(each) for each in distributions().get(name, [name])}
    }
    assert missing == set()


def test_the_part_that_a_command_names_brings_the_module() -> None:
    """And whatever is imported is either in every installation, or a part is named for it."""
    parts = declared()
    for part, modules in PARTS.items():
        for module in modules:
            assert parts[part] & {normal(each) for each in distributions()[module]}, f"{part}: {module}"
    named = {module for modules in PARTS.values() for module in modules}
    base = {name for name in imported() if parts[""] & {normal(each) for each in distributions().get(name, [])}}
    assert imported().keys() - named - base <= TYPES_ONLY | {"pillow_heif", "google"}, (
        "one says so itself, onnx brings the other"
    )


def test_the_modules_to_mutate_and_their_tests_are_there() -> None:
    """A path that is gone would be passed over without a word."""
    mutmut = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    named = [*mutmut["only_mutate"], *mutmut["pytest_add_cli_args_test_selection"]]
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).is_file()] == []
