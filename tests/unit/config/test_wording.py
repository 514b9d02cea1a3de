"""Whatever is wrong with whichever field of a file, it is said in our words: none of pydantic's, and no regex."""

import copy
import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.config.file import KINDS, override_path
from scenerec.config.tune import TuneConfig
from scenerec.frozen import find_problems
from tests.unit.test_docs import config_fields

RECIPES = Path(__file__).parents[3] / "jobs/recipes"
FILES = {
    **{"train": "folder-resnet18.yaml", "pretrain": "folder-simclr.yaml", "tune": "folder-search.yaml"},
    "probe": "folder-probe.yaml",
    "serve": "serve-photos.yaml",
}
RECIPE = {kind: yaml.safe_load((RECIPES / file).read_text()) for kind, file in FILES.items()}

WRONG: list[Any] = [
    *(None, True, -1, 0, 1.5, 10**30, float("inf"), float("nan"), "", "x", "My Photos", "~nobodyx/a", "ftp://x"),
    *([], [1], [1, 2, 3], ["x"], [[]], [None], {}, {"a": 1}, {"min": 0, "max": -1}, datetime.date(2026, 1, 2)),
]
FOREIGN = re.compile(
    r"input|should|valid|pattern|\^|function|constrained|Literal|tuple|dictionary|instance|\[key\]|__|pydantic|None"
)
VALUE = re.compile(r", not ('[^']*'|\[.*\]|\{.*\}|\S+)(: put it in quotes)?$")


def problems(kind: str, field: str, value: Any) -> list[str]:
    """What is said of the recipe with this value there."""
    document = copy.deepcopy(RECIPE[kind])
    *blocks, key = override_path(KINDS[kind], field)
    block = document
    for name in blocks:
        block = block.setdefault(name, {})
        block = block[0] if isinstance(block, list) else block
    if isinstance(block, dict):
        block[key] = value
    try:
        KINDS[kind].model_validate(document)
    except ValidationError as error:
        return [str(problem) for problem in find_problems(error)]
    return []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_field_refuses_in_our_words(kind: str) -> None:
    fields = [field for field in set(config_fields(KINDS[kind])) if not field.startswith("base.")]
    told = {line for field in fields for value in WRONG for line in problems(kind, field, value)}
    assert len(told) > 100
    for line in told:
        field, _, message = line.partition(": ")
        assert field and message and not FOREIGN.search(VALUE.sub("", message)), line


@pytest.mark.parametrize(
    ("kind", "override", "line"),
    [
        ("train", "name=My Photos", "name: must begin with a letter or digit, and have no others than letters, digits, "
         "`.`, `_` and `-`, at most 63, not 'My Photos'"),
        ("train", "name=2024", "name: must be text, not 2024: put it in quotes"),
        ("train", "name=", "name: must be text, not nothing"),
        ("train", "scale.workers=-1", "scale.workers: must be at least 1, not -1"),
        ("train", "scale.workers=some", "scale.workers: must be a whole number or a block with the keys min, max, "
         "not 'some'"),
        ("train", "scale.workers={min: 0, max: 2}", "scale.workers.min: must be at least 1, not 0"),
        ("train", "scale=4", "scale: must be a block with the keys workers, gpus_per_worker, cpus_per_worker, "
         "max_restarts, not 4"),
        ("train", "framework=jax", "framework: must be torch or tensorflow, not 'jax'"),
        ("train", "data.lanes=some", "data.lanes: must be a whole number or auto, not 'some'"),
        ("train", "data.augment.crop_scale=[0.1, 0.5, 1]", "data.augment.crop_scale: must have at most 2 values, "
         "not 3"),
        ("train", "optimize.nesterov=maybe", "optimize.nesterov: must be true or false, not 'maybe'"),
        ("train", "optimze.lr=0.1", "optimze: unknown key; did you mean `optimize`?"),
        ("train", "optimize.lr.high=1", "optimize.lr is a value, not a block"),
        ("tune", "search.optimize.lr=0.1", "search.optimize.lr: must be a list of values, or a range such as "
         "{uniform: [0.1, 0.3]}, not 0.1"),
        ("tune", "search.optimize.lrr=[0.1]", "search.optimize.lrr: is no field of a training job; "
         "did you mean optimize.lr?"),
        ("tune", "search.optimize.lr.log_uniform=[0.1]", "search.optimize.lr.log_uniform.1: is missing"),
        ("tune", "search.choice={a: 1}", "search.choice.a: unknown key; known are choice, uniform, log_uniform, "
         "integer, step, when"),
        ("serve", "http.route_prefix=photos", "http.route_prefix: must begin with `/`, end with none, and have "
         "letters, digits, `.`, `_` and `-` between, such as /photos, not 'photos'"),
        ("serve", "models.0.version=", "models.0.version: must be text, not nothing"),
        ("serve", "models.7.version=photos", "models is a list of 1"),
    ],
)  # fmt: skip
def test_an_override_is_refused_in_our_words(kind: str, override: str, line: str) -> None:
    shown = CliRunner().invoke(app, ["validate", str(RECIPES / FILES[kind]), "--set", override])
    assert (shown.exit_code, shown.stderr) == (2, f"error: --set {override}: {line}\n")


def searched(*overrides: str) -> dict[str, Any]:
    """The axes of the search, after overrides."""
    words = [word for override in overrides for word in ("--set", override)]
    shown = CliRunner().invoke(app, ["validate", str(RECIPES / FILES["tune"]), *words])
    assert shown.exit_code == 0, shown.stderr
    return yaml.safe_load(shown.stdout)["search"]


def test_axes_of_a_search_are_set() -> None:
    before = searched()
    assert before["optimize.lr"] == {"log_uniform": [0.0003, 0.03]}
    assert searched("search.optimize.lr.log_uniform=[0.001, 0.1]") == {
        **before, "optimize.lr": {"log_uniform": [0.001, 0.1]}
    }  # fmt: skip
    assert searched("search.optimize.lr={uniform: [0.1, 0.2]}")["optimize.lr"] == {"uniform": [0.1, 0.2]}
    assert searched("search.optimize.weight_decay=[0.0, 0.1]") == {
        **before, "optimize.weight_decay": {"choice": [0.0, 0.1]}
    }  # fmt: skip
    assert searched("search.model.arch=[resnet18]", "search.framework=null") == {
        key: {"choice": ["resnet18"]} if key == "model.arch" else axis
        for key, axis in before.items()
        if key != "framework"
    }
    changed = searched("search.optimize.step_gamma.when.optimize.schedule=[step, cosine]")["optimize.step_gamma"]
    assert changed == {"uniform": [0.1, 0.5], "when": {"optimize.schedule": ["step", "cosine"]}}


def test_the_first_search_may_be_given_on_the_command_line_alone(tmp_path: Path) -> None:
    document = {key: value for key, value in RECIPE["tune"].items() if key != "search"}
    (tmp_path / "tune.yaml").write_text(yaml.safe_dump(document))
    words = ["--set", "search.optimize.lr.log_uniform=[0.001, 0.1]", "--set", "search.data.image_size=[32, 64]"]
    shown = CliRunner().invoke(app, ["validate", str(tmp_path / "tune.yaml"), *words])
    assert shown.exit_code == 0, shown.stderr
    assert list(TuneConfig.model_validate(yaml.safe_load(shown.stdout)).search) == ["optimize.lr", "data.image_size"]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("optimize.lr", ["optimize", "lr"]),
        ("search.optimize.lr", ["search", "optimize.lr"]),
        ("search.optimize.lr.uniform", ["search", "optimize.lr", "uniform"]),
        ("search.framework.choice", ["search", "framework", "choice"]),
        ("search.a.b.when.optimize.schedule", ["search", "a.b", "when", "optimize.schedule"]),
        ("base.model.arch", ["base", "model", "arch"]),
        ("nothing.like.this", ["nothing", "like", "this"]),
    ],
)
def test_a_key_goes_down_the_file(key: str, path: list[str]) -> None:
    assert override_path(TuneConfig, key) == path
