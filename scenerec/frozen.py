"""Immutable values that are read from files and checked: the base of all models, and their errors in one line."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Frozen(BaseModel):
    """A value that never changes. Unknown keys are refused; a field's docstring describes it in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def first_problem(error: ValidationError) -> str:
    """`optimize.lr: input should be greater than 0, not -1`: what is wrong first, in one line."""
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}, not {problem['input']!r}"
    parts = [str(part) for part in problem["loc"] if not str(part).startswith(("literal[", "constrained-", "tuple["))]
    key, colon, rest = message.partition(": ")
    if colon and all(part.isidentifier() for part in key.split(".")):
        parts, message = [*parts, key], rest
    return ": ".join(filter(None, (".".join(parts), message)))
