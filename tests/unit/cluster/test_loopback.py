import http.server
import os
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from cluster import loopback
from tests.kept_port import keep_port, port_of


def test_ports_are_distinct_and_free() -> None:
    names = tuple(f"port{number}" for number in range(50))
    ports = loopback.free_ports(names)
    assert tuple(ports) == names
    assert len(set(ports.values())) == 50
    assert max(ports.values()) < 30_000  # RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT: replicas take ports from there on
    for port in ports.values():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))


def test_a_port_is_given_away_once_until_its_server_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loopback, "_FIRST", 32200)  # a few ports that nobody else draws from
    monkeypatch.setattr(loopback, "_LAST", 32203)
    monkeypatch.setattr(loopback, "_CLAIMS", tmp_path / "ports")
    (first,) = loopback.free_ports(("one",)).values()
    others = set(loopback.free_ports(("one", "two", "three")).values())
    assert {first, *others} == {32200, 32201, 32202, 32203}

    long_ago = time.time() - 2 * 3600
    os.utime(tmp_path / "ports" / str(first), (long_ago, long_ago))
    assert loopback.free_ports(("one",)) == {"one": first}


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_explained_by_the_program_that_listens_there(listening: str) -> None:
    (port,) = loopback.free_ports(("one",)).values()  # which nobody takes afterwards, unlike one that the system gives
    with socket.create_server((listening, port)):
        for asked in ("127.0.0.1", "0.0.0.0"):
            me = f"{psutil.Process().name()} (process {os.getpid()})"
            assert loopback.why_taken(asked, port) == f"{me} listens there already"
    assert loopback.why_taken("127.0.0.1", port) is None
    assert loopback.why_taken("192.0.2.1", port) == "192.0.2.1 cannot be listened on: Cannot assign requested address"


def test_requests_go_past_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path == "/missing" else 200)
            self.end_headers()
            self.wfile.write(self.headers["X-Name"].encode())

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http.server.HTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert loopback.get(url, {"X-Name": "me"}) == b"me"
        assert loopback.get(f"{url}/missing", {"X-Name": "me"}) is None
        server.shutdown()
    with keep_port() as kept:
        assert loopback.get(f"http://127.0.0.1:{port_of(kept)}") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1,localhost"),
        ("example.org", "example.org,127.0.0.1,localhost"),
        ("localhost,127.0.0.1", "localhost,127.0.0.1"),
    ],
)
def test_no_proxy_is_extended(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", before)
    assert loopback.no_proxy() == {"NO_PROXY": after, "no_proxy": after}
