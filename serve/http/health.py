"""Whether the server runs and has models, for load balancers and Kubernetes."""

from dataclasses import dataclass
from typing import Literal

from serve.http.json_body import Absent, JsonBody
from serve.http.operation import EXAMPLE_MODEL, DescribedAnswer, Operation, curl
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import HttpProtocol, Route, Tag
from serve.metered import Metered

ServedVersions = dict[str, list[str]]
"""By model the numbers of the versions that are served."""


@dataclass
class AliveBody(JsonBody):
    """The server runs."""

    status: Literal["ok"]


@dataclass
class ReadyBody(JsonBody):
    """There is something to ask."""

    status: Literal["ready"]
    models: ServedVersions | Absent = None
    """By model the versions that are served; left out for who lacks the API key that the server asks for."""


@dataclass
class NotReadyBody(JsonBody):
    """There is nothing to ask yet."""

    status: Literal["not_ready"]
    models: ServedVersions
    """By model the versions that are served."""


async def _alive(request: HttpRequest, metered: Metered) -> HttpResponse:
    return HttpResponse.of(AliveBody("ok"))


async def _ready(request: HttpRequest, metered: Metered) -> HttpResponse:
    shelf = metered.shelf
    models = {name: [each.version.number for each in shelf.weighted(name)] for name in shelf.names()}
    if models:
        is_known = metered.guard.admits(*request.credentials)
        return HttpResponse.of(ReadyBody("ready", models if is_known else None))
    return HttpResponse.of(NotReadyBody("not_ready", models), 503)


_ALIVE = Operation(
    "alive",
    "health",
    "Whether the server runs",
    DescribedAnswer("It does.", AliveBody("ok")),
    errors=(405,),
    samples=curl("$URL/healthz"),
)
_READY = Operation(
    "ready",
    "health",
    "Whether there is a model to ask",
    DescribedAnswer("There is a model to ask.", ReadyBody("ready", {EXAMPLE_MODEL: ["3"]})),
    not_ready=DescribedAnswer("Nothing is served yet.", NotReadyBody("not_ready", {})),
    errors=(405,),
    samples=curl("$URL/readyz"),
)

HEALTH = HttpProtocol(
    tags=(Tag("health", "For load balancers and Kubernetes. These need no key."),),
    routes=(
        Route("GET", "/healthz", _alive, lambda _: _ALIVE, is_open=True),
        Route("GET", "/readyz", _ready, lambda _: _READY, is_open=True),
    ),
)
"""Answers /healthz and /readyz, to whoever asks: whether the server lives, and whether it is ready."""
