"""One way to ask, for both clients: what holds for the one holds for the other."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from scenerec.client import AsyncClient, Client, backoff

Ask = Callable[..., Any]
"""ask(url, method, *arguments, **options of the client)."""


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.005)
    with ExitStack() as stack:
        clients: dict[Any, Client | AsyncClient] = {}  # kept from call to call, with their connections
        kind = Client if request.param == "sync" else AsyncClient
        runner = stack.enter_context(asyncio.Runner())

        def ask(url: str, method: str, *arguments: Any, **options: Any) -> Any:
            key = (url, *options.items())
            if key not in clients:
                clients[key] = kind(url, **options)
            result = getattr(clients[key], method)(*arguments)
            return runner.run(result) if kind is AsyncClient else result

        yield ask
        for client in clients.values():
            closing = client.close()
            if closing is not None:
                runner.run(closing)
