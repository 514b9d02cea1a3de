"""The description of the HTTP interface: an OpenAPI 3.1 document, made of the protocols' routes.

It is precise enough to test the server by: every status that an operation may answer is in it, with its codes.
"""

from collections.abc import Sequence

from scenerec import __version__
from serve.errors import STATUSES, ErrorKind
from serve.http.model_name import ModelName, model_name_schema
from serve.http.operation import EXAMPLE_ID, EXAMPLE_MODEL, Part, answer_headers, json_content, ref, schema_ref
from serve.http.request import LONGEST_ID
from serve.http.response import ErrorBody
from serve.http.route import HttpProtocol
from serve.http.schemas import component_schemas

_DESCRIPTION = """\
Send a photograph, get the places that it may show.

Where the server asks for an API key, it goes into the header `authorization: Bearer KEY` or `x-api-key: KEY`.
Every answer carries `x-request-id`: the one of the request or a new one. Every error is one line of JSON with a `code`
that a program may rely on. All requests are idempotent: after 429, 503 and a lost connection, send them again."""

_SECURITY: dict[str, Part] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_OPTIONAL_KEY: list[Part] = [{"bearer": []}, {"apiKey": []}, {}]  # the last for servers that ask for none


def openapi(protocols: Sequence[HttpProtocol], models: Sequence[str]) -> Part:
    """The document of a server of these models."""
    example = models[0] if models else EXAMPLE_MODEL
    routes = [(route, route.describe(example)) for protocol in protocols for route in protocol.routes()]
    body_types = [ErrorBody, *(each for _, operation in routes for each in operation.document_types())]
    schemas = component_schemas(body_types)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "scenerec",
            "version": __version__,
            "summary": "Scene classification over HTTP.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ".", "description": "Where this document lies."}],
        "security": _OPTIONAL_KEY,
        "tags": [{"name": tag.name, "description": tag.description} for protocol in protocols for tag in protocol.tags],
        "paths": {
            route.path: {
                **({"parameters": [ref("parameters", name) for name in route.parameters]} if route.parameters else {}),
                route.method.lower(): operation.document(route.is_open),
            }
            for route, operation in routes
        },
        "components": {
            "schemas": schemas | {ModelName.__name__: model_name_schema(models)},
            "responses": {str(status): _error_response(status) for status in STATUSES},
            "headers": _headers(),
            "parameters": _parameters(models),
            "securitySchemes": _SECURITY,
        },
    }


def _parameters(models: Sequence[str]) -> Part:
    """What the names in paths stand for."""
    version: Part = {"type": "string", "pattern": "^[^/:]+$", "example": "1"}
    described = {
        "model": ("Name of a model.", model_name_schema(models)),
        "version": ("Number of a version that is served.", version),
    }
    return {
        name: {"name": name, "in": "path", "required": True, "description": description, "schema": schema}
        for name, (description, schema) in described.items()
    }


def _headers() -> Part:
    return {
        "request-id": {
            "description": "The request's `x-request-id`, or one that the server made: it finds it in the log.",
            "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID},
        },
        "retry-after": {
            "description": "Seconds to wait before the next try.",
            "schema": {"type": "integer", "minimum": 1},
        },
        "www-authenticate": {"description": "How to give a key.", "schema": {"type": "string", "const": "Bearer"}},
        "allow": {"description": "Methods of this address.", "schema": {"type": "string"}},
    }


def _error_response(status: int) -> Part:
    kinds = [kind for kind in ErrorKind if kind.status == status]
    of_these_codes = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    examples = {kind.code: {"value": ErrorBody(kind.example, kind.code, EXAMPLE_ID).to_value()} for kind in kinds}
    return {
        "description": STATUSES[status],
        "headers": answer_headers(status),
        "content": json_content({"allOf": [schema_ref(ErrorBody), of_these_codes]}, examples=examples),
    }
