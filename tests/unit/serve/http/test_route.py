"""Routes and their description, by a protocol of one question."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest
from openapi_spec_validator import validate

from serve.access.admission import RequestLimits
from serve.access.keys import Guard
from serve.access_record import AccessRecord
from serve.errors import RequestError
from serve.http.json_body import Absent, JsonBody
from serve.http.openapi import openapi
from serve.http.operation import DescribedAnswer, Operation, curl
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import HttpProtocol, Route, Router, Tag
from serve.metered import Metered
from serve.shelf import Shelf


@dataclass
class GreetingBody(JsonBody):
    """A greeting."""

    text: str
    """What is said."""
    to: str | None
    """Whom."""
    aside: str | Absent = None
    """What is added, if anything."""


async def say_hello(request: HttpRequest, metered: Metered) -> HttpResponse:
    return HttpResponse.of(GreetingBody("hello", request.parameters.get("model")))


def greet(model: str) -> Operation:
    answer = DescribedAnswer("Hello.", GreetingBody("hello", model, "so there"))
    return Operation(f"greet{model}", "greetings", "Say hello", answer, errors=(404,), samples=curl("$URL/greetings"))


GREETINGS = HttpProtocol(
    tags=(Tag("greetings", "Says hello."),),
    routes=(
        Route("GET", "/greetings", say_hello, greet),
        Route("GET", "/greetings.v1/{model}:greet", say_hello, greet),
        Route("POST", "/greetings/{model}/{version}", say_hello, greet),
    ),
)


def ask(method: str, path: str) -> HttpResponse:
    async def nothing() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    request = HttpRequest(method, path, b"", {}, "q", nothing)
    metered = Metered(Shelf(), Guard(), None, AccessRecord("q", method, path), RequestLimits())
    return asyncio.run(Router(GREETINGS.routes).find(request).respond(request, metered))


@pytest.mark.parametrize(
    ("method", "path", "to"),
    [
        ("GET", "/greetings", "null"),
        ("HEAD", "/greetings/", "null"),
        ("GET", "/greetings.v1/all:greet", '"all"'),
        ("POST", "/greetings/you/2", '"you"'),
    ],
)
def test_a_request_finds_its_route_and_a_field_without_a_value_is_left_out(method: str, path: str, to: str) -> None:
    assert ask(method, path).body == f'{{"text":"hello","to":{to}}}'.encode()


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/greetingsxv1/all:greet", 404, None),
        ("GET", "/greetings.v1/a/b:greet", 404, None),
        ("GET", "/greetings.v1/a:b:greet", 404, None),
        ("DELETE", "/greetings", 405, "GET, HEAD"),
        ("GET", "/greetings/you/2", 405, "POST"),
    ],
)
def test_what_is_no_route_is_refused(method: str, path: str, status: int, allow: str | None) -> None:
    with pytest.raises(RequestError) as refusal:
        ask(method, path)
    assert (refusal.value.status, refusal.value.headers.get("allow")) == (status, allow)


def test_the_description_is_made_of_the_routes_and_the_types() -> None:
    document = openapi([replace(GREETINGS, routes=GREETINGS.routes[:1])], [])
    validate(document)
    assert [*document["paths"]] == ["/greetings"]
    answer = document["paths"]["/greetings"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/Greeting"}
    assert answer["example"] == {"text": "hello", "to": "photos", "aside": "so there"}
    assert document["components"]["schemas"]["Greeting"] == {
        "type": "object",
        "description": "A greeting.",
        "properties": {
            "text": {"type": "string", "description": "What is said."},
            "to": {"type": ["string", "null"], "description": "Whom."},
            "aside": {"type": "string", "description": "What is added, if anything."},
        },
        "required": ["text", "to"],
        "additionalProperties": False,
    }
