"""JSON documents as typed objects: one declaration gives the answer's bytes and its schema."""

from functools import cache
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import SkipJsonSchema

Absent = SkipJsonSchema[None]
"""Type of a field that is left out where it is None: `heat_map: HeatMapBody | Absent = None`."""


class JsonBody:
    """Base of the dataclasses that are sent as JSON: objects of their fields and no others.

    A field's docstring describes it in the schema; one that equals its default is left out. Nothing is validated when
    a document is made: pydantic writes what the types say, in less time than `json.dumps` takes for dictionaries.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    def to_json(self) -> bytes:
        """The document in UTF-8."""
        return _adapter_of(self).dump_json(self, exclude_defaults=True)

    def to_value(self) -> Any:
        """The document as dictionaries, lists, strings and numbers."""
        return _adapter_of(self).dump_python(self, mode="json", exclude_defaults=True)


class OpenJsonBody(JsonBody):
    """Base of the documents that may have further fields, by extensions of their protocol."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)


@cache
def adapter(body_type: Any) -> TypeAdapter[Any]:
    """What writes and describes documents of this type; made once, which takes milliseconds."""
    return TypeAdapter(body_type)


def _adapter_of(body: JsonBody) -> TypeAdapter[Any]:
    body_type: Any = type(body)
    return adapter(body_type)
