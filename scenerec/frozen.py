"""Immutable values that are read from files and checked: the base of all models, and their errors in one line."""

import reprlib
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from scenerec.errors import ScenerecError


class Frozen(BaseModel):
    """A value that never changes. Unknown keys are refused; a field's docstring describes it in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Model = TypeVar("Model", bound=BaseModel)

Field = tuple[str | int, ...]
"""A path into a document: ("optimize", "lr"), ("models", 0, "name")."""


class Problem(NamedTuple):
    """One thing that is wrong with a document."""

    field: Field
    """Where; empty for the whole document."""
    message: str
    """What is wrong: `is missing`, `input should be greater than 0, not -1`."""
    is_unknown_key: bool

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(map(str, self.field)), self.message)))


def find_problems(error: ValidationError) -> list[Problem]:
    """All that pydantic found wrong, in its order, in our words.

    A validator of a whole model names the field itself: its ValueError("lr: is too high") is a problem of `lr`.
    """
    return [_describe(each) for each in error.errors(include_url=False)]


def first_problem(error: ValidationError) -> str:
    """`optimize.lr: input should be greater than 0, not -1`: what is wrong first, in one line."""
    return str(find_problems(error)[0])


def parse_json(model: type[Model], content: bytes | str, where: str, error: type[ScenerecError]) -> Model:
    """The value that a JSON file holds. Raises `error` in one line, `WHERE: FIELD: what is wrong`."""
    try:
        return model.model_validate_json(content)
    except ValidationError as found:
        raise error(f"{where}: {first_problem(found)}") from None


def _describe(problem: Any) -> Problem:
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    loc = problem["loc"]
    unknown = loc[-1:] if kind == "extra_forbidden" else ()  # whatever a user has called it
    field = (*(part for part in loc[: len(loc) - len(unknown)] if not _names_a_type(part)), *unknown)
    if kind == "value_error":
        key, colon, rest = message.partition(": ")
        if colon and all(part.isidentifier() for part in key.split(".")):
            field, message = (*field, *key.split(".")), rest
    elif kind == "missing":
        message = "is missing"
    elif kind == "extra_forbidden":
        message = "unknown key"
    elif kind == "json_invalid":
        message = f"is not JSON: {message.removeprefix('Invalid JSON: ')}"
    else:
        message = f"{message[0].lower()}{message[1:]}, not {reprlib.repr(problem['input'])}"
    return Problem(field, message, kind == "extra_forbidden")


def _names_a_type(part: str | int) -> bool:
    """Whether it is no field: where a value may be of several types, pydantic adds the type that it tried."""
    if isinstance(part, int):
        return False
    return part in ("int", "str", "float") or part in _models() or part.startswith("constrained-") or "[" in part


def _models() -> dict[str, type[BaseModel]]:
    """All models by name."""
    found: list[type[BaseModel]] = [Frozen]
    for model in found:
        found.extend(model.__subclasses__())
    return {model.__name__: model for model in found}
