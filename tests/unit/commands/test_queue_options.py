"""Owner, priority, labels and what a job goes after: as typed, as sent, and as `list` and `status` show them."""

import json
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.commands.queue_options import queue_request
from scenerec.config.file import dump_config
from scenerec.config.train import TrainConfig


def details(name: str, status: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """A job as the Jobs API describes it."""
    known = {"scenerec": "1", "name": name, "run": f"s3://scenes/runs/{name}", "kind": "train", "framework": "torch"}
    return {"submission_id": f"{name}-1", "status": status, "start_time": 1e12, "metadata": {**known, **metadata}}


JOBS = [
    details("places", "RUNNING", {"owner": "anna", "labels": '{"team": "vision"}', "turn": "given"}),
    details("broken", "FAILED", {"owner": "ben"}),
    details(
        "birds",
        "RUNNING",
        {"owner": "ben", "priority": "5", "turn": "waiting", "waits_for": "its turn: place 1 of 2; 1 of at most 1 run"},
    ),
]


@pytest.fixture
def dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that lists JOBS as a dashboard does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(JOBS).encode() if self.path == "/api/jobs/" else b'{"logs": "[waiting] its turn"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SCENEREC_OUTPUT", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def train_yaml(make_config: Callable[..., TrainConfig], tmp_path: Path) -> Path:
    (tmp_path / "train.yaml").write_text(dump_config(make_config()))
    return tmp_path / "train.yaml"


def run(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done


def test_the_list_says_who_waits_for_what(dashboard: str) -> None:
    head, *rows = run("list", "--address", dashboard).stdout.splitlines()
    assert head.split("  ")[0] == "JOB" and head.endswith("WAITS FOR")
    (birds,) = [row for row in rows if row.startswith("birds-1")]
    assert "WAITING" in birds and " ben " in birds
    assert birds.endswith("its turn: place 1 of 2; 1 of at most 1 run (priority 5)")
    (found,) = json.loads(run("list", "--address", dashboard, "--label", "team=vision", "--json").stdout)
    assert (found["id"], found["labels"], found["turn"]) == ("places-1", {"team": "vision"}, "given")
    of_ben = json.loads(run("list", "--address", dashboard, "--owner", "ben", "--json").stdout)
    assert [job["status"] for job in of_ben] == ["FAILED", "WAITING"]
    assert run("list", "--address", dashboard, "--label", "team=sound").stdout == "no such jobs\n"
    assert "--label vision: must be NAME=VALUE" in run("list", "--label", "vision", code=2).stderr


def test_the_status_of_a_waiting_job_says_its_place(dashboard: str) -> None:
    assert "its turn: place 1 of 2" in run("status", "birds", "--address", dashboard).stdout
    assert "labels    team=vision\n" in run("status", "places", "--address", dashboard).stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plases", "has no job of this id or name: did you mean places"),
        ("nobody", "has no job of this id or name: `scenerec list` shows all"),
        ("broken", "broken-1 has not succeeded (FAILED): submit that one again, and then this one"),
    ],
)
def test_a_job_that_cannot_be_waited_for_is_refused_before_anything(
    dashboard: str, train_yaml: Path, name: str, said: str
) -> None:
    refused = run("submit", train_yaml, "--address", dashboard, "--after", name, code=7)
    assert refused.stderr.startswith(f"error: --after {name}: ") and said in refused.stderr


def test_without_a_cluster_there_is_nothing_to_go_after(
    train_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert "no cluster is up" in run("submit", train_yaml, "--after", "places", code=7).stderr


def test_what_a_label_may_not_be_is_refused(train_yaml: Path) -> None:
    refused = run("submit", train_yaml, "--dry-run", "--label", "team=vi sion", code=2)
    assert "job.labels.team: must begin with a letter or digit" in refused.stderr
    assert "job.priority" in run("submit", train_yaml, "--set", "job.priority=high", code=2).stderr
    run("submit", train_yaml, "--priority", "1001", code=2)


def test_the_owner_is_the_login_name_or_what_a_variable_says(
    make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    config = make_config(job={"priority": 3, "labels": {"team": "vision"}})
    request = queue_request(config, ("a-1",))
    assert (request.owner, request.priority, request.labels) == ("anna", 3, {"team": "vision"})
    monkeypatch.setenv("SCENEREC_OWNER", "ci")
    assert queue_request(config, ()).owner == "ci"
