"""The name of a model, as a type of its own in the OpenAPI document: there it is one of those that are served."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypeAliasType

_ANY_NAME = "^[^/:]+$"

ModelName = TypeAliasType("ModelName", Annotated[str, Field(pattern=_ANY_NAME)])
"""What stands in an address for a model."""


def model_name_schema(models: Sequence[str]) -> dict[str, Any]:
    """The schema of the name: one of these models; while nothing is served any that has neither slash nor colon."""
    return {"type": "string", "enum": list(models)} if models else {"type": "string", "pattern": _ANY_NAME}
