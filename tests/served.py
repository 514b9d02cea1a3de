"""What tests of applications on a cluster share: the command line, pictures with known answers, and patience."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import requests
from PIL import Image
from typer.testing import CliRunner

from cluster.local import LocalCluster
from cluster.processes import members
from cluster.state import load_state
from scenerec.cli import app
from tests.patience import PATIENCE_S, wait_until


def picture(colour: str) -> bytes:
    """A JPEG file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, "JPEG")
    return buffer.getvalue()


PICTURES = {label: picture(colour) for label, colour in {"red": "red", "green": "lime", "blue": "blue"}.items()}
"""By what a tiny bundle (tests.tiny_bundle) says of them."""


def scenerec(*arguments: str, code: int = 0) -> str:
    """What the command prints, on either stream, as a user's process."""
    command = [sys.executable, "-m", "scenerec", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def command(*arguments: str, code: int = 0) -> str:
    """What the command prints, on either stream, in this process: it imports nothing anew."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    return done.output


def status(application: str) -> dict[str, Any]:
    """What `serve status` says of it."""
    return json.loads(command("serve", "status", application, "--json").splitlines()[-1])["applications"][0]


def status_when(application: str, condition: Callable[[dict[str, Any]], bool], patience_s: float = PATIENCE_S) -> Any:
    """The first status for which it holds; not one of a moment in which the roll-out did not answer."""
    ends_at = time.monotonic() + patience_s
    while not ("models" in (found := status(application)) and condition(found)):
        assert time.monotonic() < ends_at, found
    return found


def replica_pids(cluster: LocalCluster, application: str) -> list[int]:
    """Of the replicas that run, by Ray's own account: of a moment, which another call need not repeat."""
    headers = {"Authorization": f"Bearer {cluster.environment['RAY_AUTH_TOKEN']}"}
    answer = requests.get(f"{cluster.dashboard_url}/api/serve/applications/", headers=headers, timeout=PATIENCE_S)
    answer.raise_for_status()
    deployments = answer.json()["applications"].get(application, {}).get("deployments", {})
    replicas = deployments.get("Replica", {}).get("replicas", [])
    return [replica["pid"] for replica in replicas if replica["state"] == "RUNNING"]


def asked_pids(cluster: LocalCluster, application: str) -> list[int]:
    """Of the replicas that run and are connected to the proxy: Ray says RUNNING some time before the proxy knows it."""
    # All processes at once: any of them may end while it is looked at.
    proxies = {each.pid for each in psutil.process_iter(["name"]) if each.info["name"] == "haproxy"}
    connections = psutil.net_connections("tcp")
    asked = {each.raddr.port for each in connections if each.pid in proxies and each.raddr}
    answering = {each.pid for each in connections if each.laddr.port in asked and each.status == psutil.CONN_LISTEN}
    return [pid for pid in replica_pids(cluster, application) if pid in answering]


def as_many(count: int, look: Callable[[], list[int]]) -> list[int]:
    """The first list of processes that `look` finds to have so many."""
    found: list[int] = []

    def found_them() -> bool:
        found[:] = look()
        return len(found) == count

    wait_until(found_them, f"{count} processes")
    return found


def assert_loopback_only(cluster: LocalCluster, *process_names: str) -> None:
    """No process of the cluster listens beyond the loopback, by the kernel's account; processes so named are there."""
    state = load_state(cluster.home)
    assert state
    processes = [each for name, service in state.services.items() for each in members(service.pid, state.mark(name))]
    listening = {
        (process.name(), connection.laddr.ip.removeprefix("::ffff:"))
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening) > 5
    assert [each for each in listening if each[1] != "127.0.0.1"] == []
    for name in process_names:
        assert any(each.startswith(name) for each, _ in listening), listening
