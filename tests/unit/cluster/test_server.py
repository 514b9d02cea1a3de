import os
import sys
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import httpx
import pytest

from cluster import server
from cluster.state import ClusterState, load_state
from scenerec.errors import ClusterError
from tests.patience import wait_until

PROGRAM = """
import http.server, pathlib, sys, time
starts = pathlib.Path(sys.argv[2])
starts.write_text(starts.read_text() + "x")
if len(starts.read_text()) <= int(sys.argv[3]):
    if sys.argv[4:]:
        print("deaf", flush=True)
        time.sleep(600)
    sys.exit("no luck")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@dataclass(frozen=True)
class Fickle:
    """A server that gives up `failures` times before it stays."""

    starts: Path
    failures: int
    hangs: bool = False

    name = "fickle"
    port_names = ("http",)
    stop_patience_s = 5.0

    def command(self, ports: dict[str, int]) -> list[str]:
        return [sys.executable, "-c", PROGRAM, str(ports["http"]), str(self.starts), str(self.failures)] + [
            "x"
        ] * self.hangs

    def environment(self, ports: dict[str, int]) -> dict[str, str]:
        return dict(os.environ)

    def is_ready(self, ports: dict[str, int]) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{ports['http']}", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def clean_up(self, ports: dict[str, int]) -> None:
        pass


def fickle(folder: Path, failures: int) -> Fickle:
    (folder / "starts").write_text("")
    return Fickle(folder / "starts", failures)


def test_a_server_that_gave_up_is_started_again(tmp_path: Path) -> None:
    one = fickle(tmp_path, failures=1)
    state = server.await_ready(one, tmp_path, server.launch(one, tmp_path, ClusterState()), attempts=2)
    try:
        assert one.starts.read_text() == "xx"
        assert server.is_up(one, state)
        assert load_state(tmp_path) == state
    finally:
        assert server.end(one, state) == 1


def test_one_that_runs_is_asked_again_before_it_is_taken_for_down(tmp_path: Path) -> None:
    answers = iter([False, False, True])

    @dataclass(frozen=True)
    class Busy(Fickle):
        def is_ready(self, ports: dict[str, int]) -> bool:
            return next(answers)

    (tmp_path / "starts").write_text("")
    one = Busy(tmp_path / "starts", failures=0)
    state = server.launch(one, tmp_path, ClusterState())
    try:
        assert server.is_up(one, state)
    finally:
        server.end(one, state)
    assert not server.is_up(one, state)


def test_but_not_for_ever(tmp_path: Path) -> None:
    one = fickle(tmp_path, failures=9)
    with pytest.raises(ClusterError, match="the embedded fickle did not start: no luck"):
        server.await_ready(one, tmp_path, server.launch(one, tmp_path, ClusterState()), attempts=2)
    assert one.starts.read_text() == "xx"


def test_one_that_answers_nobody_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(fickle(tmp_path, failures=9), hangs=True)
    log = server.log_path(one, tmp_path)

    attempts = count(1)

    def wait_in_vain(*_: object) -> bool:
        attempt = next(attempts)
        wait_until(lambda: log.read_text().count("deaf") == attempt)
        return False

    monkeypatch.setattr(server, "wait_until", wait_in_vain)
    with pytest.raises(ClusterError, match="the embedded fickle did not start: deaf"):
        server.await_ready(one, tmp_path, server.launch(one, tmp_path, ClusterState()), attempts=2)
    assert one.starts.read_text() == "xx"
