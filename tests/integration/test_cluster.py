"""The embedded cluster and its jobs: real processes, started and ended."""

import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from cluster.job import Job
from cluster.run_record import RECORD_FILE, SILENCE_S, RunRecord, hold_run, read_record
from cluster.state import load_state
from scenerec.commands.free_run import await_free_run
from scenerec.commands.known_jobs import KnownJobs
from scenerec.errors import ClusterError
from scenerec.storage import open_storage
from tests.served import assert_loopback_only, command
from tests.tls import make_certificate

SCRIPT = """
import os, sys, time
print("endpoint", os.environ.get("AWS_ENDPOINT_URL"))
print("setting", os.environ.get("SETTING"))
print("bin", os.path.dirname(sys.executable))
print("[note] hello", flush=True)
if sys.argv[1] == "sleep":
    time.sleep(600)
print("no newline at the end", end="")
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def client(cluster: local.LocalCluster) -> ClusterClient:
    return ClusterClient(find_address())


@pytest.fixture
def working_dir(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


def submit(client: ClusterClient, working_dir: Path, argument: str, name: str = "run") -> str:
    entrypoint = f"python script.py {argument}"
    metadata = {"scenerec": "0", "kind": "train", "framework": "torch"}
    return client.submit(name, f"s3://scenes/{name}", entrypoint, working_dir, metadata, {"SETTING": "as given"})


def test_it_offers_what_was_asked_for(client: ClusterClient) -> None:
    (node,) = client.nodes()
    assert (node.cpus, node.gpus, node.is_head) == (2, 0, True)
    assert node.memory_bytes > 0


def test_status_shows_the_cluster_that_a_job_would_go_to(
    cluster: local.LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "named by" not in command("cluster", "status")
    monkeypatch.setenv("RAY_ADDRESS", cluster.dashboard_url)
    own = json.loads(command("cluster", "status", "--json"))
    assert (own["embedded"], own["home"]) == (True, str(cluster.home))
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path))  # as on another machine
    url, shown = cluster.dashboard_url, command("cluster", "status").splitlines()
    assert shown[0] == f"dashboard  {url}  (named by RAY_ADDRESS: not this machine's embedded cluster)"
    assert [line.split()[0] for line in shown] == ["dashboard", "metrics", "node"]
    told = json.loads(command("cluster", "status", "--json"))
    assert (told["embedded"], told["dashboard_url"]) == (False, url)
    assert [node["cpus"] for node in told["nodes"]] == [2]
    assert told["lost_nodes"] == []
    listed = ClusterClient(find_address()).request("GET", told["metrics_url"].removeprefix(url))
    assert isinstance(listed, list)


def test_up_again_changes_nothing(cluster: local.LocalCluster) -> None:
    before = load_state(cluster.home)
    assert local.start(cluster.home) == cluster == local.find(cluster.home)
    command("cluster", "up", "--cpus", "2", "--gpus", "0", "--bucket", "scenes", "--object-store-mb", "300")
    assert load_state(cluster.home) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cpus", "1"], "--cpus 1: the cluster is up already, without that"),
        (["--gpus", "3", "--object-store-mb", "90"], "--gpus 3 --object-store-mb 90: the cluster is up already"),
        (["--no-store"], "--no-store: the cluster is up already, without that"),
    ],
)
def test_an_option_that_it_is_not_up_with_is_refused(
    cluster: local.LocalCluster, options: list[str], said: str
) -> None:
    printed = command("cluster", "up", *options, code=7)
    assert said in printed and "scenerec cluster down" in printed


def test_a_certificate_comes_too_late_for_a_cluster_that_is_up(
    cluster: local.LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCENEREC_TLS_CERTIFICATE", "")  # the command sets both: monkeypatch takes them back
    monkeypatch.setenv("SCENEREC_TLS_KEY", "")
    certificate, key = make_certificate(tmp_path)
    printed = command("cluster", "up", "--tls-certificate", str(certificate), "--tls-key", str(key), code=7)
    assert f"--tls-certificate {certificate} --tls-key {key}: the cluster is up already, without that" in printed


def test_it_listens_on_loopback_only(cluster: local.LocalCluster) -> None:
    assert_loopback_only(cluster)


def test_credentials_are_the_owners_alone(cluster: local.LocalCluster) -> None:
    for name in ("cluster.json", "identities.json"):
        assert (cluster.home / name).stat().st_mode & 0o077 == 0


def test_without_its_token_it_refuses(cluster: local.LocalCluster) -> None:

    stranger = ClusterClient(replace(find_address(), headers={}))
    with pytest.raises(ClusterError, match="refuses"):
        stranger.nodes()


def test_a_job_reaches_the_store_and_is_followed(
    client: ClusterClient, working_dir: Path, cluster: local.LocalCluster
) -> None:
    job_id = submit(client, working_dir, "0")
    lines = list(client.follow(job_id))
    wanted = [f"endpoint {cluster.store_url}", "setting as given", f"bin {Path(sys.executable).parent}", "[note] hello"]
    assert [line for line in lines if line in wanted] == wanted
    assert lines[-1] == "no newline at the end"
    job = client.job(job_id)
    assert (job.status, job.exit_code, job.name, job.ended) == ("SUCCEEDED", 0, "run", True)
    assert job.run_url == "s3://scenes/run"


def test_a_failing_job_keeps_its_exit_code(client: ClusterClient, working_dir: Path) -> None:
    job_id = submit(client, working_dir, "4")
    assert "[note] hello" in list(client.follow(job_id))
    assert (client.job(job_id).status, client.job(job_id).exit_code) == ("FAILED", 4)


def test_a_job_is_found_by_its_runs_name_and_stopped(client: ClusterClient, working_dir: Path) -> None:
    job_id = submit(client, working_dir, "sleep", name="sleeper")
    for line in client.follow(job_id):
        if line == "[note] hello":
            break
    assert KnownJobs(None).find("sleeper").id == KnownJobs(None).find(job_id).id == job_id
    assert client.stop(job_id).status == "STOPPED"
    assert client.jobs()[0].id == job_id
    with pytest.raises(ClusterError, match=r"nobody: no job or run of this name .* nor in s3://scenes/runs"):
        KnownJobs(None).find("nobody")


def test_a_run_is_free_again_when_its_job_is_known_to_have_ended(client: ClusterClient, tmp_path: Path) -> None:
    """The job could not say so itself, as one that was killed."""
    ended = client.jobs()[0]
    assert ended.ended
    hold_run(folder := open_storage(str(tmp_path)), replace(ended, status="RUNNING"), is_held=False)
    await_free_run(client, str(tmp_path))
    record = read_record(folder)
    assert record is not None and record.job.status == ended.status


@pytest.mark.parametrize("lives", [True, False])
def test_a_job_of_another_cluster_is_waited_for(client: ClusterClient, tmp_path: Path, lives: bool) -> None:
    """Which was lost with its cluster, or says again that it is there."""
    job = Job("elsewhere-1", "elsewhere", str(tmp_path), "train", "torch", "RUNNING", "", None, time.time(), None)
    # One that lives is not taken for lost, however slow the machine; the other one's time is over in a moment.
    folder, seen_s = open_storage(str(tmp_path)), time.time() - (0 if lives else SILENCE_S - 2)
    folder.put(RECORD_FILE, RunRecord(job=job, seen_s=seen_s).model_dump_json().encode())
    if not lives:
        await_free_run(client, str(tmp_path))
        assert time.time() > seen_s + SILENCE_S
        return
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(0.5):
            hold_run(folder, job, True)

    elsewhere = threading.Thread(target=live)
    elsewhere.start()
    try:
        with pytest.raises(ClusterError, match=r"job elsewhere-1 is writing .* now, on another cluster: give the new"):
            await_free_run(client, str(tmp_path))
    finally:
        ended.set()
        elsewhere.join()


def test_a_stream_that_falls_silent_is_opened_anew(
    client: ClusterClient, working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (working_dir / "script.py").write_text("import time\nfor i in range(4): print(i, flush=True); time.sleep(2)")
    monkeypatch.setattr(client, "stall_s", 1.0)
    lines = list(client.follow(submit(client, working_dir, "0")))
    assert [line for line in lines if line.isdigit()] == ["0", "1", "2", "3"]
