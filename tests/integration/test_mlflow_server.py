"""A run on a real MLflow server, which goes away in its middle and comes back.

`MLFLOW_SERVER` names the program `mlflow` of an environment of its own that has all of MLflow: half a gigabyte, which
scenerec needs nowhere.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from cluster.loopback import free_ports
from scenerec.training.mlflow_run import tell_bundle
from tests.mirrored_run import MirroredRun
from tests.patience import PATIENCE_S, wait_until

pytest.importorskip("mlflow", reason="needs MLflow's client: pip install 'scenerec[mlflow]'")
pytestmark = pytest.mark.skipif("MLFLOW_SERVER" not in os.environ, reason="MLFLOW_SERVER names no `mlflow` program")


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    """A server that keeps what it is told in `folder`, as long as the context lasts."""
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    command = [os.environ["MLFLOW_SERVER"], "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # a process more, for what is not asked here
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen([*command, *store], stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            wait_until(lambda: answers(port), patience_s=4 * PATIENCE_S)  # it makes a database first
            yield
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


def test_a_server_shows_each_step_of_a_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed in the middle of the run, the run as well, and both come back."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    port = free_ports(("mlflow",))["mlflow"]
    run = MirroredRun(tmp_path / "runs", f"http://127.0.0.1:{port}")
    run.begin()
    with pytest.raises(KeyboardInterrupt), ExitStack() as first:
        first.enter_context(server(tmp_path, port))
        with run.mirror():
            run.reach(4)
            wait_until(lambda: run.found() and run.steps() == [1, 2, 3, 4])
            first.close()
            run.reach(8)
            wait_until(lambda: len(run.notes) > 1)
            with server(tmp_path, port):
                wait_until(lambda: run.steps() == list(range(1, 9)))
                raise KeyboardInterrupt
    assert run.notes[0].startswith(f"MLflow at http://127.0.0.1:{port} shows this run: http://127.0.0.1:{port}/#/exp")
    assert "lacks this run for now, and is asked again: " in run.notes[1]
    with server(tmp_path, port):
        run.begin(2e9)
        with run.mirror():
            run.reach(12)
            run.folder.storage.put("report.html", b"<html>")
        tell_bundle(run.folder, "fp32", "s3://scenes/bundle")
        (shown,) = run.found()
        assert shown.info.status == "FINISHED" and run.steps() == list(range(1, 13))
        assert shown.data.params["optimize.lr"] == "0.1"
        assert shown.data.tags["scenerec.bundle.fp32"] == "s3://scenes/bundle"
        assert shown.data.metrics["val/loss"] == 1 / 3
        page = requests.get(f"http://127.0.0.1:{port}/get-artifact?path=report.html&run_uuid={shown.info.run_id}")
        assert page.text == "<html>"
