"""What pyproject.toml says is so: the product's imports are declared, and the files that it names are there."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import scenerec

ROOT = Path(scenerec.__file__).parents[1]
ROOMS = ("scenerec", "cluster", "jobs", "serve")
TYPES_ONLY = {"mypy_boto3_s3"}
"""Stubs: imported under TYPE_CHECKING alone, they come with the extra dev."""
OPTIONAL = {"pillow_heif"}
"""Imported where an extra has been installed; what does without says so."""


def normal(name: str) -> str:
    """A distribution's name as the packaging standard (PEP 503) compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> dict[str, str]:
    """The top-level modules that are not the product's nor Python's: name -> a file that imports it."""
    found = {}
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found.update({name.partition(".")[0]: str(file.relative_to(ROOT)) for name in names})
    return {name: file for name, file in found.items() if name not in {*ROOMS, *sys.stdlib_module_names}}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normal(re.split(r"[\[<>=~! ]", line)[0]) for line in project["dependencies"]}
    distributions = packages_distributions()
    found = imported()
    assert {"numpy", "ray", "torch"} <= found.keys()
    missing = {
        f"{file}: {name}"
        for name, file in found.items()
        if name not in TYPES_ONLY | OPTIONAL
        and not declared & {normal(each) for each in distributions.get(name, [name])}
    }
    assert missing == set()


def test_the_modules_to_mutate_and_their_tests_are_there() -> None:
    """A path that is gone would be passed over without a word."""
    mutmut = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    named = [*mutmut["only_mutate"], *mutmut["pytest_add_cli_args_test_selection"]]
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).is_file()] == []
