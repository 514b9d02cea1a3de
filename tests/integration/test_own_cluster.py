"""A cluster that a test has for itself: killed, started again, mistaken."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from cluster.processes import members
from cluster.state import ClusterState, Service, load_state, save_state
from scenerec.errors import ClusterError
from scenerec.storage import open_storage
from tests.kept_port import keep_port, port_of
from tests.variables import lead_to


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of a cluster that this test alone has."""
    home = tmp_path / "a folder with spaces"
    lead_to({"SCENEREC_HOME": str(home)}, monkeypatch)
    yield home
    local.stop(home, purge=True)


def test_the_store_survives_what_may_happen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any time, it comes back with its data and leaves no process behind."""
    first = local.start(home, cpus=1, buckets=("scenes", "models"))
    lead_to(first.environment, monkeypatch)
    contents = {f"object-{number}": os.urandom(5000) for number in range(200)}
    storage = open_storage("s3://models/many")
    for key, content in contents.items():
        storage.put(key, content)
    state = load_state(home)
    assert state
    for service in state.services.values():
        psutil.Process(service.pid).kill()
    assert local.find(home) is None

    second = local.start(home, cpus=1)
    lead_to(second.environment, monkeypatch)
    assert second.environment["AWS_SECRET_ACCESS_KEY"] == first.environment["AWS_SECRET_ACCESS_KEY"]
    storage = open_storage("s3://models/many")
    assert {info.key: storage.get(info.key) for info in storage.list()} == contents

    ended = local.stop(home)
    assert set(ended) == {"ray", "store"}
    assert local.stop(home) == {}
    for name, service in state.services.items():
        assert members(service.pid, state.mark(name)) == []


def test_a_process_that_got_a_recorded_id_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        service = Service(pid=stranger.pid, ports=dict.fromkeys(local.Store.port_names, 1))
        save_state(tmp_path, ClusterState(services={"store": service}))
        assert local.find(tmp_path) is None
        assert local.stop(tmp_path) == {}
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_unreachable_dashboard_is_one_line() -> None:
    with keep_port() as unused, pytest.raises(ClusterError, match="cannot be reached") as raised:
        ClusterClient(find_address(f"http://127.0.0.1:{port_of(unused)}")).nodes()
    assert len(str(raised.value).splitlines()) == 1
