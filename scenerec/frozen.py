"""Immutable values that are read from files and checked: the base of all models, and their errors in one line."""

import ast
import inspect
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby, pairwise
from textwrap import dedent
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from scenerec.errors import ScenerecError


class Frozen(BaseModel):
    """A value that never changes. Unknown keys are refused; a field's docstring describes it in the schema.

    The docstrings are read when a schema is wanted: pydantic's `use_attribute_docstrings` would read them when a model
    is defined, in every process, which takes half of that time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        document = handler(schema)
        properties = handler.resolve_ref_schema(document)["properties"]
        for name, text in field_docstrings(cls).items():
            properties[name].setdefault("description", text)
        return document


def field_docstrings(model: type[Frozen]) -> dict[str, str]:
    """The docstrings below the fields of a model and of those that it extends, by field."""
    found = {}
    for kind in reversed(model.__mro__):
        if kind is not Frozen and issubclass(kind, Frozen):
            [definition] = ast.parse(dedent(inspect.getsource(kind))).body
            assert isinstance(definition, ast.ClassDef)
            for field, text in pairwise(definition.body):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                        found[name] = inspect.cleandoc(docstring)
    return {name: text for name, text in found.items() if name in model.model_fields}


Model = TypeVar("Model", bound=BaseModel)

Field = tuple[str | int, ...]
"""A path into a document: ("optimize", "lr"), ("models", 0, "name")."""


def dotted(field: Field) -> str:
    """`optimize.lr`; `file` for the whole document."""
    return ".".join(map(str, field)) or "file"


class Problem(NamedTuple):
    """One thing that is wrong with a document."""

    field: Field
    """Where; empty for the whole document."""
    message: str
    """What is wrong: `is missing`, `must be above 0, not -1`."""
    is_unknown_key: bool

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(map(str, self.field)), self.message)))


@dataclass(frozen=True)
class Pattern:
    """Annotates a text that has to match a regular expression, which an error says in words."""

    expression: str
    words: str
    """What the text must do: `must begin with /`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^{self.expression}$"}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.expression, text):
            raise ValueError(f"{self.words}, not {shown(text)}")
        return text


Sha256 = Annotated[str, Pattern("[0-9a-f]{64}", "must be 64 hexadecimal digits")]


def find_problems(error: ValidationError) -> list[Problem]:
    """All that pydantic found wrong, in its order, in our words.

    A validator of a whole model names the field itself: its ValueError("lr: is too high") is a problem of `lr`.
    """
    return [problem for group in _by_value(error) for problem in _describe_all(group)]


def first_problem(error: ValidationError) -> str:
    """`optimize.lr: must be above 0, not -1`: what is wrong first, in one line."""
    return str(find_problems(error)[0])


def parse_json(model: type[Model], content: bytes | str, where: str, error: type[ScenerecError]) -> Model:
    """The value that a JSON file holds. Raises `error` in one line, `WHERE: FIELD: what is wrong`."""
    try:
        return model.model_validate_json(content)
    except ValidationError as found:
        raise error(f"{where}: {first_problem(found)}") from None


def shown(value: object) -> str:
    """A value as a person would type it in a file, cut where it is long."""
    named = {True: "true", False: "false", None: "nothing"}
    return named[value] if value is None or isinstance(value, bool) else reprlib.repr(_plain(value))


# What a value must be, by pydantic's type of error, with the error's context filled in.
_MUST = {
    "string_type": "be text",
    "string_unicode": "be text",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "be a number"),
    "finite_number": "be a finite number",
    "greater_than": "be above {gt}",
    "greater_than_equal": "be at least {ge}",
    "less_than": "be below {lt}",
    "less_than_equal": "be at most {le}",
    "literal_error": "be {expected}",
    "none_required": "be empty",
    "string_too_short": "have at least {min_length} letters",
    "string_too_long": "have at most {max_length} letters",
    "too_short": "have at least {min_length} values",
    "too_long": "have at most {max_length} values",
    **dict.fromkeys(("tuple_type", "list_type"), "be a list"),
    **dict.fromkeys(("dict_type", "mapping_type"), "be a block of keys and values"),
    **dict.fromkeys(("model_type", "model_attributes_type"), "be a block with the keys {keys}"),
    "path_type": "be a path",
}
_OTHER_KIND = frozenset(kind for kind in _MUST if kind.endswith(("_type", "_parsing", "_from_float", "literal_error")))
"""The value is of another kind altogether: where it may be of several, that kind was not meant."""
_COUNTED = ("too_short", "too_long")
_KEYS_SHOWN = 4


def _by_value(error: ValidationError) -> Iterator[list[Any]]:
    """The errors in groups: those of one value that may be of several kinds, each of which pydantic has tried."""
    # A list of wrong values counts as short: that is no problem of its own.
    every = error.errors(include_url=False)
    wrong = {each["loc"][:length] for each in every for length in range(len(each["loc"]))}
    found = [each for each in every if each["type"] != "too_short" or each["loc"] not in wrong]

    def value(place: int) -> object:
        tag = _tag(found[place])
        return place if tag is None else found[place]["loc"][:tag]

    for _, places in groupby(range(len(found)), value):
        yield [found[place] for place in places]


def _describe_all(group: list[Any]) -> list[Problem]:
    tag = _tag(group[0])
    if tag is None:
        return [_describe(group[0])]
    kinds = {each["loc"][tag]: each for each in reversed(group)}

    def is_other_kind(each: Any) -> bool:
        return len(each["loc"]) == tag + 1 and each["type"] in _OTHER_KIND

    meant = next((each["loc"][tag] for each in group if not is_other_kind(each)), None)
    if meant is not None or len(kinds) == 1:
        return [_describe(each) for each in group if each["loc"][tag] == meant or meant is None]
    wanted = dict.fromkeys(_must(each).removeprefix("be ") for each in reversed(kinds.values()))
    return [Problem(group[0]["loc"][:tag], f"must be {' or '.join(wanted)}{_not(group[0])}", False)]


def _describe(problem: Any) -> Problem:
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    loc, unknown = problem["loc"], _unknown(problem)
    field = (*(part for part in loc[: len(loc) - len(unknown)] if not _names_a_type(part)), *unknown)
    if kind == "value_error":
        key, colon, rest = message.partition(": ")
        if colon and all(part.isidentifier() for part in key.split(".")):
            field, message = (*field, *key.split(".")), rest
    elif kind == "missing":
        message = "is missing"
    elif kind in ("extra_forbidden", "invalid_key"):
        kind, message = "extra_forbidden", "unknown key"
    elif kind == "json_invalid":
        message = f"is not JSON: {message.removeprefix('Invalid JSON: ')}"
    else:
        message = f"must {_must(problem)}{_not(problem)}"
    return Problem(field, message, kind == "extra_forbidden")


def _must(problem: Any) -> str:
    """`be above 0`: what pydantic would have had."""
    context = {key: _without_fraction(value) for key, value in problem.get("ctx", {}).items()}
    if context.get("min_length") == 1:
        return "not be empty"
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace("'", "")
    if "class_name" in context:
        keys = list(_models()[str(context["class_name"])].model_fields)
        context["keys"] = ", ".join(keys[:_KEYS_SHOWN]) + (", ..." if len(keys) > _KEYS_SHOWN else "")
    if problem["type"] in _MUST:
        return _MUST[problem["type"]].format(**context)
    message = problem["msg"].partition(" should ")
    return message[2] or f"be right: {message[0]}"


def _not(problem: Any) -> str:
    value = problem["input"]
    if problem.get("ctx", {}).get("min_length") == 1:
        return ""
    if problem["type"] in _COUNTED:
        return f", not {problem['ctx']['actual_length']}"
    is_unquoted = problem["type"] == "string_type" and isinstance(value, bool | int | float | date)
    return f", not {shown(value)}{': put it in quotes' if is_unquoted else ''}"


def _without_fraction(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def _tag(problem: Any) -> int | None:
    """Where in a path pydantic has put the kind that it tried, where a value may be of several."""
    known = problem["loc"][: len(problem["loc"]) - len(_unknown(problem))]
    return next((place for place, part in enumerate(known) if _names_a_type(part)), None)


def _unknown(problem: Any) -> Field:
    """The key at the end of a path that no model has, whatever a user may have called it."""
    return problem["loc"][-1:] if problem["type"] == "extra_forbidden" else ()


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
