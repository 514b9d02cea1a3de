import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.http import express
from serve.http.express import Express


class Recorder:
    """An application that remembers which requests it was given, and where it was said to be mounted."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.given.append((scope["path"], scope["root_path"]))


async def nothing(*_: Any) -> Any:
    return None


def ask(app: ASGIApp, *paths: str) -> None:
    async def send() -> None:
        for path in paths:
            await app({"type": "http", "path": path, "root_path": ""}, nothing, nothing)

    asyncio.run(send())


def ask_below(prefix: str, *paths: str) -> tuple[Recorder, Recorder]:
    """Our interface and Ray Serve, after these requests."""
    api, ray_serve = Recorder(), Recorder()
    ask(Express(ray_serve, api, prefix), *paths)
    return api, ray_serve


def test_requests_go_past_ray_serve_and_its_probes_do_not() -> None:
    api, ray_serve = ask_below("/", "/", "/v1/models", "/-/healthz", "/-/routes")
    assert api.given == [("/", ""), ("/v1/models", "")]
    assert ray_serve.given == [("/-/healthz", ""), ("/-/routes", "")]


def test_below_a_prefix_only_what_belongs_to_it() -> None:
    api, ray_serve = ask_below("/scenes", "/scenes", "/scenes/healthz", "/scenesque", "/v1/models")
    assert api.given == [("/scenes", "/scenes"), ("/scenes/healthz", "/scenes")]
    assert ray_serve.given == [("/scenesque", ""), ("/v1/models", "")]


def test_ray_serve_gets_what_the_replica_has_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "_middlewares", [])
    assert express.middlewares() == []
    api, ray_serve = Recorder(), Recorder()
    express.open_way(api, "/scenes")
    (middleware,) = express.middlewares()
    ask(middleware.cls(ray_serve, *middleware.args, **middleware.kwargs), "/scenes/docs")
    assert api.given == [("/scenes/docs", "/scenes")]
