"""NVIDIA's own client, by HTTP and by gRPC, for the tests that ask a server process by both."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.grpc as by_grpc
import tritonclient.http as by_http

from scenerec.inference.bundles.bundle import Bundle, open_bundle
from tests.tiny_server import tiny_server

NEWEST, OLDER = "2", "1"


@dataclass(frozen=True)
class Served:
    """A running server and what it must answer."""

    http: str
    """host:port"""
    grpc: str
    bundles: dict[str, Bundle]
    """By version."""

    def golden(self, version: str = NEWEST) -> tuple[np.ndarray, np.ndarray]:
        """Images and logits."""
        golden = self.bundles[version].golden
        return golden.images, golden.logits


@contextmanager
def serve_both(folder: Path) -> Iterator[Served]:
    """Runs a server process of the tiny model's two versions."""
    with tiny_server(folder) as addresses:
        bundles = {version: open_bundle(str(folder / version)) for version in (NEWEST, OLDER)}
        yield Served(addresses.http, addresses.grpc, bundles)


@dataclass(frozen=True)
class Transport:
    """tritonclient, by one of its two transports."""

    module: ModuleType
    client: Any

    def input(self, name: str, values: np.ndarray, datatype: str, **binary: bool) -> Any:
        tensor = self.module.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, **binary)
        return tensor

    def images(self, images: np.ndarray) -> list[Any]:
        return [self.input("images", images, "UINT8")]

    def metadata(self) -> Any:
        found = self.client.get_model_metadata("tiny")
        return found if isinstance(found, dict) else by_grpc_as_dict(found)


def by_grpc_as_dict(metadata: Any) -> dict[str, Any]:
    return {
        "name": metadata.name,
        "versions": list(metadata.versions),
        "platform": metadata.platform,
        **{
            kind: [
                {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}
                for each in getattr(metadata, kind)
            ]
            for kind in ("inputs", "outputs")
        },
    }


@contextmanager
def connect(served: Served, protocol: str) -> Iterator[Transport]:
    """tritonclient by `http` or `grpc`."""
    if protocol == "http":
        client: Any = by_http.InferenceServerClient(served.http, concurrency=8)
        yield Transport(by_http, client)
    else:
        client = by_grpc.InferenceServerClient(served.grpc)
        yield Transport(by_grpc, client)
    client.close()


def same(answer: np.ndarray, expected: np.ndarray) -> None:
    """Asserts that logits or probabilities are those that were expected."""
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)
