"""A load that counts: every request is answered as it must be, is refused politely, or is lost."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import numpy as np
import tritonclient.grpc.aio as by_grpc
from tritonclient.utils import InferenceServerException

from tests.patience import PATIENCE_S
from tests.tiny_bundle import LABELS

_CONNECT_S = 2.0


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


class _Load(ABC):
    """Asks from several connections, one request after the other on each, until the block ends.

    It tries nothing again: what the server loses is lost.
    """

    def __init__(self, pictures: Mapping[str, bytes], connections: int) -> None:
        self.tally = Tally()
        self._pictures = pictures
        self._connections = connections
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @abstractmethod
    async def _run(self) -> None:
        """Asks from all connections until `_ended`, and fills the tally."""


class SteadyLoad(_Load):
    """By HTTP.

    Args:
        url: of the endpoint.
        model: by name.
        pictures: encoded, by the label that they must get.
        connections: how many at once.
        pause_s: between two requests on a connection.
        others: more addresses of the endpoint. Where one takes no connection the next is asked, as by a load balancer;
            what an address has taken, it must answer.
    """

    def __init__(
        self,
        url: str,
        model: str,
        pictures: Mapping[str, bytes],
        connections: int = 4,
        pause_s: float = 0,
        others: Sequence[str] = (),
    ) -> None:
        super().__init__(pictures, connections)
        self._pause_s = pause_s
        self._urls = [f"{each}/v1/models/{model}:predict" for each in (url, *others)]

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=self._connections * len(self._urls))
        timeout = httpx.Timeout(PATIENCE_S, connect=_CONNECT_S if len(self._urls) > 1 else PATIENCE_S)
        async with httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(self._connections)))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while not self._ended.is_set():
            for label, picture in self._pictures.items():
                if self._pause_s:
                    await asyncio.sleep(self._pause_s)
                try:
                    response = await self._post(client, picture)
                except httpx.HTTPError as error:
                    self.tally.lost.append(f"{type(error).__name__}: {error}")
                    continue
                self._count(label, response)

    async def _post(self, client: httpx.AsyncClient, picture: bytes) -> httpx.Response:
        for url in self._urls[:-1]:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await client.post(url, content=picture)
        return await client.post(self._urls[-1], content=picture)

    def _count(self, label: str, response: httpx.Response) -> None:
        if response.status_code == 503 and "retry-after" in response.headers:
            self.tally.refused += 1
            return
        document: dict[str, Any] = response.json() if response.status_code == 200 else {}
        if document and document["predictions"][0]["classes"][0]["label"] == label:
            self.tally.right[document["version"]] += 1
        else:
            self.tally.lost.append(f"{response.status_code}: {response.text[:200]}")


class SteadyRpcLoad(_Load):
    """By gRPC, with NVIDIA's client.

    Args:
        address: host:port.
        model: by name.
        pictures: encoded, by the label that they must get.
        connections: how many at once.
    """

    def __init__(self, address: str, model: str, pictures: Mapping[str, bytes], connections: int = 4) -> None:
        super().__init__(pictures, connections)
        self._address = address
        self._model = model

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask() for _ in range(self._connections)))

    async def _ask(self) -> None:
        alone = [("grpc.use_local_subchannel_pool", 1)]  # else all of them share one connection
        async with by_grpc.InferenceServerClient(self._address, channel_args=alone) as client:
            while not self._ended.is_set():
                for label, picture in self._pictures.items():
                    photographs = by_grpc.InferInput("photographs", [1], "BYTES")
                    photographs.set_data_from_numpy(np.array([picture], dtype=np.object_))
                    try:
                        found = await client.infer(self._model, [photographs], client_timeout=PATIENCE_S)
                    except InferenceServerException as error:
                        self.tally.lost.append(str(error))
                        continue
                    probabilities = found.as_numpy("probabilities")
                    if LABELS[probabilities.argmax()] == label:
                        self.tally.right[found.get_response().model_version] += 1
                    else:
                        self.tally.lost.append(f"{label}: {probabilities}")
