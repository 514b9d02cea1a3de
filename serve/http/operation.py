"""What a route does, in the terms of OpenAPI 3.1 (spec.openapis.org/oas/v3.1.0)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve.errors import STATUS_HEADERS
from serve.http.json_body import JsonBody

Part = dict[str, Any]
"""A piece of the document."""

EXAMPLE_MODEL = "photos"
EXAMPLE_ID = "5c1e6f0b9d3a7e42"
"""A request id."""
EXAMPLE_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mO8E6DBgA0wMeAAg1MCAA7DAWRGHDu6AAAAAElFTkSuQmCC"
"""A red picture of 8 x 8 pixels, base64: an example that can be sent as it is."""
CONTENT_ENCODING: Part = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the whole body is compressed: not at all where it is empty or `identity`.",
    "schema": {"type": "string", "enum": ["", "identity", "gzip", "x-gzip", "deflate"]},
}
"""The header of a body that may be compressed."""
BINARY: Part = {"type": "string", "format": "binary"}
"""The schema of bytes."""


@dataclass(frozen=True)
class DescribedAnswer:
    """One answer of an operation that is no error of the table."""

    description: str
    example: JsonBody | None = None
    """A document as it may be answered; its type is the schema."""
    content: Mapping[str, Part] = field(default_factory=dict)
    """Schemas by media type, beside the document's."""
    headers: Mapping[str, Part] = field(default_factory=dict)
    """Headers beside those of all answers."""

    def document(self) -> Part:
        """OpenAPI's response object."""
        found = {media_type: {"schema": schema} for media_type, schema in self.content.items()}
        if self.example is not None:
            example = self.example.to_value()
            found = json_content(schema_ref(type(self.example)), example=example) | found
        return {"description": self.description, "headers": answer_headers() | dict(self.headers), "content": found}


@dataclass(frozen=True)
class Operation:
    """One route for the document."""

    name: str
    """The operationId."""
    tag: str
    """The group that it is shown in."""
    summary: str
    success: DescribedAnswer
    """The answer 200."""
    errors: Sequence[int]
    """Statuses of `serve.errors.STATUSES` that it may answer."""
    samples: Sequence[Part]
    """Requests in the shell, see `curl`."""
    description: str = ""
    parameters: Sequence[Part] = ()
    """What is sent in the query and in headers."""
    body: Part | None = None
    """The request's body, as a request body object."""
    body_types: Sequence[Any] = ()
    """The types in it that are components of the document."""
    not_ready: DescribedAnswer | None = None
    """The answer 503, where it is none of the table."""

    def document(self, is_open: bool) -> Part:
        """OpenAPI's operation object.

        Args:
            is_open: whether it needs no API key.
        """
        answers = {200: self.success, **({503: self.not_ready} if self.not_ready else {})}
        return {
            "operationId": self.name,
            "tags": [self.tag],
            "summary": self.summary,
            **({"description": self.description} if self.description else {}),
            **({"parameters": list(self.parameters)} if self.parameters else {}),
            **({"requestBody": self.body} if self.body else {}),
            **({"security": []} if is_open else {}),
            "responses": {
                **{str(status): answer.document() for status, answer in answers.items()},
                **{str(status): ref("responses", str(status)) for status in self.errors},
            },
            "x-codeSamples": list(self.samples),
        }

    def document_types(self) -> Iterator[Any]:
        """The types of what it takes and gives."""
        yield from self.body_types
        for answer in (self.success, self.not_ready):
            if answer and answer.example is not None:
                yield type(answer.example)


def json_content(schema: Part, **more: Any) -> Part:
    """The media types of a body that is JSON; `more` is an example, or several."""
    return {"application/json": {"schema": schema, **more}}


def ref(kind: str, name: str) -> Part:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema_ref(body_type: Any) -> Part:
    """A reference to the schema of a type."""
    return ref("schemas", component_name(body_type.__name__))


def component_name(class_name: str) -> str:
    """What a type of JSON documents is called in the document: `PredictionsBody` is `Predictions`."""
    return class_name.removesuffix("Body")


def answer_headers(error: int | None = None) -> Part:
    """The headers that every answer brings; `error` is the status of one that is an error of the table."""
    found = {"x-request-id": ref("headers", "request-id")}
    if error is not None and (name := STATUS_HEADERS.get(error)):
        found[name] = ref("headers", name)
    return found


def sample_url(path: str, model: str) -> str:
    """The address of a route's path, of a model of this name and its version 1."""
    return f"$URL{path}".format(model=model, version=1)


def curl(command: str, data: Sequence[str] = ()) -> list[Part]:
    """A request in the shell, as ReDoc's extension x-codeSamples. `$URL` is where the server is."""
    return [{"lang": "Shell", "label": "curl", "source": " \\\n  ".join((f"curl {command}", *data))}]
