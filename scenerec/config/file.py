"""Reads a job's YAML: overrides applied, and every problem reported with its file, line and field."""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from scenerec.config.job import JobConfig
from scenerec.config.serve import ServeConfig
from scenerec.config.train import TrainConfig
from scenerec.config.tune import TuneConfig
from scenerec.config.yaml_text import dump_document, load_document, load_value, read_text
from scenerec.errors import ConfigError
from scenerec.frozen import Field, Frozen, Problem, find_problems

Config = TypeVar("Config", bound=Frozen)

KINDS: dict[str, type[JobConfig] | type[ServeConfig]] = {
    "train": TrainConfig,
    "tune": TuneConfig,
    "serve": ServeConfig,
}
"""The model of each kind of file, by its `kind`; `scenerec.commands.kinds` says how such a job is run and shown."""


def load_config(path: Path | str, overrides: Iterable[str] = ()) -> TrainConfig:
    """Reads and checks the training job at `path`, with overrides such as "optimize.lr=0.1" (values are YAML).

    Raises ConfigError with one line a problem: FILE:LINE: FIELD: what is wrong.
    """
    return parse_config(read_config(path), str(path), overrides)


def load_job(path: Path | str, overrides: Iterable[str] = ()) -> JobConfig:
    """Reads and checks a file of any kind that `scenerec submit` takes. Raises as `load_config`."""
    return parse_job(read_config(path), str(path), overrides)


def parse_job(text: str, name: str, overrides: Iterable[str] = ()) -> JobConfig:
    """Checks the text of a file that `scenerec submit` takes, called `name` in errors. Raises as `load_config`."""
    model = _model(text, name)
    return parse_as(model if issubclass(model, JobConfig) else TrainConfig, text, name, overrides)


def read_config(path: Path | str) -> str:
    """Reads the text of a file. Raises ConfigError."""
    return read_text(path)


def parse_config(text: str, name: str, overrides: Iterable[str] = ()) -> TrainConfig:
    """Checks the text of a training job, called `name` in errors. Raises as `load_config`."""
    return parse_as(TrainConfig, text, name, overrides)


def parse_any(text: str, name: str, overrides: Iterable[str] = ()) -> Frozen:
    """Checks the text of a file of whichever kind it says that it is. Raises as `load_config`."""
    return parse_as(_model(text, name), text, name, overrides)


def parse_as(model: type[Config], text: str, name: str, overrides: Iterable[str] = ()) -> Config:
    """Checks the text of a file against `model`; one that says that it is of another kind is refused.

    Raises as `load_config`.
    """
    document, lines = load_document(text, name)
    kind = str(document.get("kind"))
    if kind in KINDS and not issubclass(model, KINDS[kind]):
        raise ConfigError(f"{_where(name, ('kind',), lines)}: kind: is {kind}: use it with `{KINDS[kind].command}`")
    sources: dict[Field, str] = {}
    for override in overrides:
        field, value = _parse_override(override)
        _assign(document, field, value, override)
        sources[field] = f"--set {override}"
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [_describe(model, problem, name, lines, sources) for problem in find_problems(error)]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None


def dump_config(config: Frozen) -> str:
    """The config as YAML with every default filled in, as a run folder keeps it."""
    document = config.model_dump(mode="json")
    first: dict[str, Any] = {key: document.pop(key) for key in ("kind", "name") if key in document}
    last: dict[str, Any] = {key: document.pop(key) for key in ("output",) if key in document}
    return dump_document(first | document | last)


def config_schema(kind: str = "train") -> str:
    """The JSON Schema of a kind of file, for editors."""
    return json.dumps(KINDS[kind].model_json_schema(), indent=2)


def _model(text: str, name: str) -> type[JobConfig] | type[ServeConfig]:
    """By what the file says that it is; what is wrong with an unknown kind, a training job's config will say."""
    return KINDS.get(str(load_document(text, name)[0].get("kind")), TrainConfig)


def _parse_override(override: str) -> tuple[Field, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: must be KEY=VALUE, such as optimize.lr=0.1")
    try:
        return tuple(key.strip().split(".")), load_value(value)
    except ValueError as error:
        reason = str(error).replace("is not YAML", "the value is not YAML", 1)
        raise ConfigError(f"--set {override}: {reason}") from None


def _assign(document: dict[str, Any], field: Field, value: object, override: str) -> None:
    *parents, last = field
    block = document
    for key in parents:
        block = block.setdefault(str(key), {})
        if not isinstance(block, dict):
            raise ConfigError(f"--set {override}: {key} is a value, not a block")
    block[str(last)] = value


def _describe(
    model: type[Frozen], problem: Problem, name: str, lines: dict[Field, int], sources: dict[Field, str]
) -> str:
    field, message = problem.field, problem.message
    if problem.is_unknown_key:
        message = f"unknown key; {_known_keys(model, field)}"
    source = next((text for key, text in sources.items() if field[: len(key)] == key), None)
    return f"{source or _where(name, field, lines)}: {_dotted(field)}: {message}"


def _where(name: str, field: Field, lines: dict[Field, int]) -> str:
    if len(field) > 2 and (field[0], _dotted(field[1:])) in lines:  # a key with dots, such as optimize.lr of `search`
        field = (field[0], _dotted(field[1:]))
    while field and field not in lines:
        field = field[:-1]
    return f"{name}:{lines.get(field, 1)}"


def _dotted(field: Field) -> str:
    return ".".join(map(str, field)) or "file"


def _known_keys(model: type[BaseModel], field: Field) -> str:
    *parents, key = field
    for parent in parents:
        if parent in model.model_fields:  # else it counts in a list or names an entry of a mapping: its parent's model
            model = _submodel(model.model_fields[str(parent)].annotation)
    known = list(model.model_fields)
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    return f"did you mean `{nearest[0]}`?" if nearest else f"known are {', '.join(known)}"


def _submodel(annotation: Any) -> type[BaseModel]:
    candidates = [
        annotation,
        *get_args(annotation),
        *(each for part in get_args(annotation) for each in get_args(part)),
    ]
    return next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel))
