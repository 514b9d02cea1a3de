"""A block of a YAML file, whose numbers are numbers."""

from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from scenerec.frozen import Frozen, shown


class Block(Frozen):
    """Base of all that a user writes in YAML. Numbers are finite, and no text or truth value stands for one.

    pydantic would take `epochs: true` for 1 and `lr: "0.1"` for 0.1: what it means is not what is written.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        annotation: Any = cls.model_fields[str(info.field_name)].annotation
        wanted, words = _wanted(annotation)
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if wanted and (isinstance(each, bool) or (isinstance(each, str) and each not in words)):
                raise ValueError(f"must be {wanted}, not {shown(each)}")
        return value


def none_to_text(value: object) -> object:
    """Takes an empty value for the word `none`: YAML 1.1 reads `~` and an empty value as null."""
    return "none" if value is None else value


@cache
def _wanted(annotation: Any) -> tuple[str | None, tuple[str, ...]]:
    """What a field that takes numbers wants, and the words that it takes beside them; None for another field."""
    kinds, words, blocks = set[Any](), list[str](), list[str]()

    def visit(kind: Any) -> None:
        if get_origin(kind) is Literal:
            words.extend(word for word in get_args(kind) if isinstance(word, str))
            kinds.update(type(word) for word in get_args(kind) if not isinstance(word, str))
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            blocks.append(f"a block with the keys {', '.join(kind.model_fields)}")
        elif get_args(kind):
            for part in get_args(kind):
                visit(part)
        else:
            kinds.add(kind)

    visit(annotation)
    if kinds & {str, bool, Any} or not kinds & {int, float}:
        return None, ()
    return " or ".join(("a number" if float in kinds else "a whole number", *words, *blocks)), tuple(words)
