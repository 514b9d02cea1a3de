"""The schemas of JSON documents, as pydantic makes them of their types, for the OpenAPI document."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from serve.http.json_body import adapter
from serve.http.operation import Part, component_name


def component_schemas(body_types: Iterable[Any]) -> Part:
    """The schemas of these types and of all that they consist of, by their names in the document."""
    return dict(_schemas(tuple(dict.fromkeys(body_types))))


@cache
def _schemas(body_types: tuple[Any, ...]) -> Part:
    _, document = TypeAdapter.json_schemas(
        [(each, "validation", adapter(each)) for each in body_types],
        ref_template="#/components/schemas/{model}",
        schema_generator=_ComponentSchema,
    )
    return {component_name(name): _renamed(schema) for name, schema in document["$defs"].items()}


class _ComponentSchema(GenerateJsonSchema):
    """pydantic's schemas without what only repeats names, and with `null` as one type among others."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return {**inner, "type": [inner["type"], "null"]} if "type" in inner else super().nullable_schema(schema)

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default of nothing means that the field may be left out, which `required` says."""
        return super().default_schema(schema) if schema.get("default") else self.generate_inner(schema["schema"])


def _renamed(part: Any) -> Any:
    """The part with the components' names in its references, each description in one line, and without titles."""
    if isinstance(part, list):
        return [_renamed(each) for each in part]
    if not isinstance(part, dict):
        return part
    renamed = {}
    for key, value in part.items():
        match key, value:
            case "$ref", str():
                renamed[key] = component_name(value)
            case "description", str():
                renamed[key] = " ".join(value.split())
            case "title", str():  # it is the class's name
                pass
            case _:
                renamed[key] = _renamed(value)
    return renamed
