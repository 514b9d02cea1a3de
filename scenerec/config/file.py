"""Reads a job's YAML: overrides applied, and every problem reported with its file, line and field."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from scenerec.config.job import JobConfig
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.probe import ProbeConfig
from scenerec.config.recipe import sets
from scenerec.config.run import RunConfig
from scenerec.config.serve import ServeConfig
from scenerec.config.train import TrainConfig
from scenerec.config.tune import TuneConfig
from scenerec.config.yaml_text import dump_document, load_document, load_value, read_text
from scenerec.errors import ConfigError
from scenerec.frozen import Field, Frozen, Problem, dotted, find_problems
from scenerec.names import did_you_mean

Config = TypeVar("Config", bound=Frozen)

KINDS: dict[str, type[JobConfig] | type[ServeConfig]] = {
    "train": TrainConfig,
    "pretrain": PretrainConfig,
    "probe": ProbeConfig,
    "tune": TuneConfig,
    "serve": ServeConfig,
}
"""The model of each kind of file, by its `kind`; `scenerec.commands.kinds` says how such a job is run and shown."""


def load_config(path: Path | str, overrides: Iterable[str] = ()) -> TrainConfig:
    """Reads and checks the training job at `path`, with overrides such as "optimize.lr=0.1" (values are YAML).

    Raises ConfigError with one line a problem: FILE:LINE: FIELD: what is wrong.
    """
    return parse_as(TrainConfig, read_text(path), str(path), overrides)


def load_run(path: Path | str, overrides: Iterable[str] = ()) -> RunConfig:
    """Reads and checks the training or the pretraining at `path`. Raises as `load_config`."""
    config = load_job(path, overrides)
    if not isinstance(config, RunConfig):
        raise ConfigError(f"{path}: kind: is {config.kind}, neither train nor pretrain")
    return config


def load_job(path: Path | str, overrides: Iterable[str] = ()) -> JobConfig:
    """Reads and checks a file of any kind that `scenerec submit` takes. Raises as `load_config`."""
    return parse_job(read_text(path), str(path), overrides)


def parse_job(text: str, name: str, overrides: Iterable[str] = ()) -> JobConfig:
    """Checks the text of a file that `scenerec submit` takes, called `name` in errors. Raises as `load_config`."""
    model = _model(text, name)
    return parse_as(model if issubclass(model, JobConfig) else TrainConfig, text, name, overrides)


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
        raise ConfigError(f"{_where(name, 'kind', lines)}: kind: is {kind}: use it with `{KINDS[kind].command}`")
    sources: dict[str, str] = {}
    for override in overrides:
        key, value = _parse_override(override)
        _assign(document, override_path(model, key), value, override)
        sources[key] = f"--set {override}"
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [
            _describe(model, problem, name, lines, sources) + _of_the_recipe(document, problem.field)
            for problem in find_problems(error)
        ]
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


def override_path(model: type[BaseModel], key: str) -> list[str]:
    """The keys of a file that `--set KEY=...` goes down: `search.optimize.lr.uniform` is search, optimize.lr, uniform.

    The name of an entry of a mapping, such as of a parameter of `search`, may have dots: it ends before a field of
    what it names, or with the key.
    """
    parts, path = key.split("."), list[str]()
    kind: type[BaseModel] | None = model
    while parts:
        annotation = kind.model_fields[parts[0]].annotation if kind and parts[0] in kind.model_fields else None
        path.append(parts.pop(0))
        kind = next(iter(_submodels(annotation)), None)
        if get_origin(annotation) is dict and parts:
            fields = kind.model_fields if kind else {}
            ends = next((place for place, part in enumerate(parts) if place and part in fields), len(parts))
            path.append(".".join(parts[:ends]))
            del parts[:ends]
    return path


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: must be KEY=VALUE, such as optimize.lr=0.1")
    try:
        return key.strip(), load_value(value)
    except ValueError as error:
        reason = str(error).replace("is not YAML", "the value is not YAML", 1)
        raise ConfigError(f"--set {override}: {reason}") from None


def _assign(document: dict[str, Any], path: list[str], value: object, override: str) -> None:
    block: Any = document
    for place, key in enumerate(path):
        is_last = place == len(path) - 1
        if isinstance(block, dict):
            block[key] = value if is_last else block.get(key) or {}
        elif isinstance(block, list) and key.isdecimal() and int(key) < len(block):
            block[int(key)] = value if is_last else block[int(key)]
        else:
            held = f"a list of {len(block)}" if isinstance(block, list) else "a value, not a block"
            raise ConfigError(f"--set {override}: {'.'.join(path[:place])} is {held}")
        block = block[key] if isinstance(block, dict) else block[int(key)]


def _describe(model: type[Frozen], problem: Problem, name: str, lines: dict[str, int], sources: dict[str, str]) -> str:
    field, message = problem.field, problem.message
    if problem.is_unknown_key:
        message = f"unknown key; {_known_keys(model, field)}"
    place = dotted(field)
    source = next((text for key, text in sources.items() if _has_set(key, place, lines)), None)
    return f"{source or _where(name, place, lines)}: {place}: {message}"


def _of_the_recipe(document: dict[str, Any], field: Field) -> str:
    """What to do about a value that its recipe has put there, and not who wrote the document; "" of any other."""
    base = document.get("base")
    if field[:1] == ("base",) and isinstance(base, dict):  # of a search
        document, field = base, field[1:]
    recipe = document.get("recipe")
    if not field or not sets(recipe, field) or _holds(document, field):
        return ""
    null = ", or null to leave it out" if _may_be_null(field) else ""
    return f" ({recipe}, the recipe, sets it: say another value there{null})"


def _may_be_null(field: Field) -> bool:
    """Whether a training's field may be left empty."""
    kind: type[BaseModel] | None = TrainConfig
    annotation: Any = None
    for key in field:
        annotation = kind.model_fields[str(key)].annotation if kind and key in kind.model_fields else None
        kind = next(_submodels(annotation), None)
    return NoneType in get_args(annotation)


def _holds(document: Any, field: Field) -> bool:
    """Whether a document says itself what stands at a field."""
    for key in field:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True


def _has_set(key: str, place: str, lines: dict[str, int]) -> bool:
    """Whether an override of `key` is why there is the value at `place`."""
    return f"{place}.".startswith(f"{key}.") or (key.startswith(f"{place}.") and place not in lines)


def _where(name: str, place: str, lines: dict[str, int]) -> str:
    while place and place not in lines:
        place = place.rpartition(".")[0]
    return f"{name}:{lines.get(place, 1)}"


def _known_keys(model: type[BaseModel], field: Field) -> str:
    *parents, key = field
    is_entry = False
    for parent in parents:
        if not is_entry and parent in model.model_fields:  # else it counts in a list: its parent's model
            annotation = model.model_fields[str(parent)].annotation
            is_entry = get_origin(annotation) is dict  # of which the next part names one
            model = next(_submodels(annotation), model)
        else:
            is_entry = False
    known = list(model.model_fields)
    return did_you_mean(str(key), known, "`", cutoff=0.5) or f"known are {', '.join(known)}"


def _submodels(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _submodels(part)
