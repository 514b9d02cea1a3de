"""What answers at the endpoint's ports: a real server of ours, a stranger, nobody."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import loopback
from scenerec.config.serve import HttpConfig
from scenerec.errors import ClusterError
from serve.endpoint import await_answer, check_ports
from tests.kept_port import keep_port, port_of
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of a server of ours."""
    command = [sys.executable, "-m", "tests.tiny_server", str(tmp_path_factory.mktemp("bundle"))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate()


@pytest.fixture
def stranger() -> Iterator[int]:
    """Port of another program."""

    class Stranger(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_what_answers_by_http_and_grpc_is_found(ours: dict[str, int]) -> None:
    await_answer(
        HttpConfig(port=ours["http"]), "127.0.0.1", ours["grpc"], "tiny", speaks_tls=False, patience_s=PATIENCE_S
    )
    await_answer(HttpConfig(port=ours["http"]), "0.0.0.0", None, "tiny", speaks_tls=False, patience_s=PATIENCE_S)


def test_a_stranger_at_either_port_is_named(ours: dict[str, int], stranger: int) -> None:
    with pytest.raises(ClusterError, match=rf"tiny runs, but .*:{stranger}/readyz: 404 from SimpleHTTP.*\(process"):
        await_answer(HttpConfig(port=stranger), "127.0.0.1", None, "tiny", speaks_tls=False, patience_s=0)
    with pytest.raises(ClusterError, match=f"tiny runs, but cannot be asked: gRPC at 127.0.0.1:{stranger}: "):
        await_answer(HttpConfig(port=ours["http"]), "127.0.0.1", stranger, "tiny", speaks_tls=False, patience_s=0)


def test_nobody_at_the_port_is_said() -> None:
    with keep_port() as kept, pytest.raises(ClusterError, match=r"Connection refused \(nothing listens there\)"):
        await_answer(HttpConfig(port=port_of(kept)), "127.0.0.1", None, "tiny", speaks_tls=False, patience_s=0)


def test_a_taken_port_is_refused_with_its_holder_and_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (other,) = loopback.free_ports(("other",)).values()
        for field, http in (
            ("http.port", HttpConfig(port=port, grpc_port=other)),
            ("http.grpc_port", HttpConfig(port=other, grpc_port=port)),
        ):
            with pytest.raises(
                ClusterError, match=rf"{field}: {port}: .*\(process \d+\) .* --set {field}=\d+$"
            ) as said:
                check_ports(http, "127.0.0.1")
            assert not loopback.why_taken("127.0.0.1", int(str(said.value).rpartition("=")[2]))
    check_ports(HttpConfig(port=other, grpc_port=None), "127.0.0.1")


def test_http_and_grpc_cannot_share_a_port() -> None:
    with pytest.raises(ClusterError, match=r"http.grpc_port: 9000 is http.port, too"):
        check_ports(HttpConfig(port=9000, grpc_port=9000), "127.0.0.1")
