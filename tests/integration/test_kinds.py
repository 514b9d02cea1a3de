"""A kind of job that was added goes its whole way on a cluster: sent, run, followed, listed, shown."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.local import LocalCluster
from scenerec.cli import app
from scenerec.commands.kinds import KINDS
from scenerec.config import file
from tests.toy_kind import TOY, ToyConfig


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_an_added_kind_runs(cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(file.KINDS, "toy", ToyConfig)
    monkeypatch.setitem(KINDS, "toy", TOY)
    (tmp_path / "toy.yaml").write_text(f"kind: toy\nname: count\ncount_to: 3\noutput: {tmp_path}/runs\n")
    done = run("submit", tmp_path / "toy.yaml", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1]) == {"counted_to": 3}
    assert "counts    to 3" in done.stderr

    (listed,) = [job for job in json.loads(run("list", "--json").stdout) if job["name"] == "count"]
    assert (listed["kind"], listed["framework"], listed["status"]) == ("toy", "none", "SUCCEEDED")
    status = json.loads(run("status", "count", "--json").stdout)
    assert (status["number"]["step"], status["result"]) == (3, {"counted_to": 3})
    shown = run("logs", "count").stdout.splitlines()
    assert (shown[0], shown[-1]) == ("counting to 3", "counted to 3")

    # All of it is known without the cluster, by what lies in the run's folder.
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "nothing-is-up-here"))
    monkeypatch.setenv("SCENEREC_OUTPUT", str(tmp_path / "runs"))
    (stored,) = json.loads(run("list", "--json").stdout)
    assert (stored["id"], stored["status"], stored["run_url"]) == (listed["id"], "SUCCEEDED", listed["run_url"])
    again = json.loads(run("status", "count", "--json").stdout)
    assert (again["number"], again["result"]) == (status["number"], status["result"])
    assert run("logs", "count").stdout.splitlines() == shown
