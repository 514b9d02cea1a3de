"""Jobs that wait for their turn on a real cluster: shown by `list`, begun in their order, and stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from cluster.job import WAITING, Turn
from cluster.queueing import MAX_JOBS, QueueRequest
from cluster.run_record import read_record, run_environment
from cluster.working_dir import copy_packages
from scenerec.storage import open_storage
from tests.patience import wait_until
from tests.served import command

MODULE = """
import sys, time
from pathlib import Path
from jobs.main import main

def run_file(file):
    while Path(sys.argv[2]).exists():
        time.sleep(0.1)
    return {"ended_s": time.time()}

if __name__ == "__main__":
    sys.exit(main("held"))
"""


@pytest.fixture
def client(cluster: local.LocalCluster) -> ClusterClient:
    return ClusterClient(find_address())


@pytest.fixture
def send(client: ClusterClient, tmp_path: Path) -> Callable[..., str]:
    """(name, priority, after) -> id of a job that ends when the file of its name is gone; one may run at a time."""
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "held.py").write_text(MODULE)
    packages = copy_packages(tmp_path / "code")

    def submit(name: str, priority: int = 0, after: tuple[str, ...] = ()) -> str:
        request = QueueRequest("anna", priority, after, {"test": "queue"})
        run_url = f"s3://scenes/queue/{name}"
        return client.submit(
            name,
            run_url,
            f"python -m held config.yaml {tmp_path}/{name}",
            tmp_path / "sent",
            {"scenerec": "test", "kind": "train", "framework": "torch", **request.metadata()},
            {**run_environment(name, run_url, "train", "torch", request), MAX_JOBS: "1"},
            packages,
        )

    return submit


def test_jobs_wait_are_stopped_and_go_in_their_order(
    client: ClusterClient, send: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "first").touch()
    first = send("first")
    wait_until(lambda: client.job(first).turn is Turn.GIVEN)
    high, low, urgent = send("high", 5), send("low"), send("urgent", 9, (first,))
    doomed = send("doomed", after=(low,))
    waiting = (high, low, urgent, doomed)
    wait_until(lambda: all(client.job(each).status == WAITING for each in waiting))

    def listed() -> dict[str, dict[str, Any]]:
        return {job["id"]: job for job in json.loads(command("list", "--label", "test=queue", "--json"))}

    # Each looks for itself, now and then: one that looked before the others had come was alone.
    wait_until(lambda: listed()[low]["waits_for"] == f"its turn: place 2 of 2; 1 of at most 1 run ({first})")
    wait_until(lambda: "its turn: place 1 of 2" in command("status", "high"))
    wait_until(lambda: listed()[urgent]["waits_for"] == f"{first} to succeed")
    wait_until(lambda: f"waiting for {first} to succeed" in command("logs", "urgent"))
    assert listed()[high]["owner"] == "anna"
    assert [listed()[each]["status"] for each in (first, *waiting)] == ["RUNNING", *[WAITING] * 4]

    command("stop", low)
    wait_until(lambda: client.job(doomed).ended)
    assert (client.job(doomed).status, client.job(doomed).exit_code) == ("FAILED", 7)
    assert f"--after {low}: it has not succeeded (STOPPED)" in command("logs", doomed)
    record = read_record(open_storage("s3://scenes/queue/low"))
    assert record is not None and (record.job.status, record.job.waits_for) == ("STOPPED", "")

    (tmp_path / "first").unlink()
    wait_until(lambda: all(client.job(each).ended for each in (first, urgent, high)))
    ends = [json.loads(client.logs(each).rpartition("[result] ")[2])["ended_s"] for each in (first, urgent, high)]
    assert ends == sorted(ends)
