"""A load that counts: every request is answered as it must be, is refused politely, or is lost."""

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

_PATIENCE_S = 60.0


@dataclass
class Tally:
    """What became of the requests."""

    right: Counter[str] = field(default_factory=Counter)
    """Answered with the right label, by version."""
    refused: int = 0
    """A 503 with Retry-After: never accepted."""
    lost: list[str] = field(default_factory=list)
    """Anything else: what happened."""

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return sum(self.right.values())


class SteadyLoad:
    """Asks an endpoint from several connections, one request after the other on each, until the block ends.

    It tries nothing again: what the server loses is lost.

    Args:
        url: of the endpoint.
        model: by name.
        pictures: encoded, by the label that they must get.
        connections: how many at once.
    """

    def __init__(self, url: str, model: str, pictures: Mapping[str, bytes], connections: int = 4) -> None:
        self.tally = Tally()
        self._url = f"{url}/v1/models/{model}:predict"
        self._pictures = pictures
        self._connections = connections
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "SteadyLoad":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=self._connections)
        async with httpx.AsyncClient(timeout=_PATIENCE_S, limits=limits, trust_env=False) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(self._connections)))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while not self._ended.is_set():
            for label, picture in self._pictures.items():
                try:
                    response = await client.post(self._url, content=picture)
                except httpx.HTTPError as error:
                    self.tally.lost.append(f"{type(error).__name__}: {error}")
                    continue
                self._count(label, response)

    def _count(self, label: str, response: httpx.Response) -> None:
        if response.status_code == 503 and "retry-after" in response.headers:
            self.tally.refused += 1
            return
        document: dict[str, Any] = response.json() if response.status_code == 200 else {}
        if document and document["predictions"][0]["classes"][0]["label"] == label:
            self.tally.right[document["version"]] += 1
        else:
            self.tally.lost.append(f"{response.status_code}: {response.text[:200]}")
