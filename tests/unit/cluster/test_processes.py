import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cluster.processes import is_running, members, spawn, terminate, wait_until
from tests.patience import PATIENCE_S

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
# A family: a child in the leader's session, and one with a session and an environment of its own.
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True, env={"PATH": os.environ["PATH"]})
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[list[str]], int]]:
    """Starts a marked process; all of its kind are ended with the test."""
    pids = []

    def start_one(command: list[str]) -> int:
        pids.append(spawn(command, dict(os.environ), "mark", tmp_path / "log"))
        return pids[-1]

    yield start_one
    for pid in pids:
        terminate(pid, "mark", 0)


def test_a_process_is_known_by_its_mark(start: Callable[[list[str]], int]) -> None:
    pid = start(SLEEP)
    assert is_running(pid, "mark")
    assert not is_running(pid, "other mark")
    assert os.getsid(pid) == pid


def test_it_is_known_as_soon_as_it_was_started(start: Callable[[list[str]], int]) -> None:
    assert all(is_running(start(["sleep", "600"]), "mark") for _ in range(30))


def test_its_output_goes_to_the_log(start: Callable[[list[str]], int], tmp_path: Path) -> None:
    start([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert wait_until(lambda: len((tmp_path / "log").read_text().split()) == 2, lambda: True, PATIENCE_S)
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


@pytest.mark.slow
def test_a_whole_family_is_ended(start: Callable[[list[str]], int], tmp_path: Path) -> None:
    leader = start([sys.executable, "-c", FAMILY])
    assert wait_until(lambda: "ready" in (tmp_path / "log").read_text(), lambda: True, PATIENCE_S)
    family = members(leader, "mark")
    assert len(family) == 3
    assert {process.pid for process in terminate(leader, "mark", 0.2)} == {process.pid for process in family}
    assert members(leader, "mark") == []
    assert not any(is_alive(process) for process in family)


@pytest.mark.slow
def test_those_whose_leader_was_killed_are_found(start: Callable[[list[str]], int], tmp_path: Path) -> None:
    leader = start([sys.executable, "-c", FAMILY])
    assert wait_until(lambda: "ready" in (tmp_path / "log").read_text(), lambda: True, PATIENCE_S)
    stray = [process for process in members(leader, "mark") if os.getsid(process.pid) != leader]
    psutil.Process(leader).kill()
    assert wait_until(lambda: not is_running(leader, "mark"), lambda: True, PATIENCE_S)
    assert len(terminate(leader, "mark", 5)) == 1  # the child in its session
    for process in stray:  # neither mark, session nor parent: nothing tells that it was ours
        process.kill()


def test_a_stranger_with_the_recorded_id_is_left_alone() -> None:
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        assert members(stranger.pid, "mark") == []
        assert terminate(stranger.pid, "mark", 0) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_waiting_ends_when_there_is_no_hope() -> None:
    assert not wait_until(lambda: False, lambda: False, timeout_s=600)
    assert not wait_until(lambda: False, lambda: True, timeout_s=0.2)


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
