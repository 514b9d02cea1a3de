"""A run in MLflow: a store of MLflow's own, filled from a run's folder, whatever happens in between.

`tests/integration/test_mlflow_server.py` asks a real server.
"""

from pathlib import Path

import pytest

from scenerec.errors import MissingPartError
from scenerec.training import mlflow_thread
from scenerec.training.mlflow_run import tell_bundle
from tests.kept_port import keep_port, port_of
from tests.mirrored_run import MirroredRun
from tests.patience import wait_until

pytest.importorskip("mlflow", reason="needs MLflow's client: pip install 'scenerec[mlflow]'")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MirroredRun:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return MirroredRun(tmp_path / "runs", f"file://{tmp_path}/mlruns")


def test_a_run_is_shown_while_it_goes_on(run: MirroredRun) -> None:
    with run.mirror():
        run.begin()
        run.reach(3)
        wait_until(lambda: run.found() and run.steps() == [1, 2, 3])
        (shown,) = run.found()
        assert shown.info.status == "RUNNING" and shown.info.run_name == "photos"
        assert shown.data.params["optimize.lr"] == "0.1" and shown.data.params["model.arch"] == "resnet18"
        assert shown.data.params["optimize.class_weights.dog_s _hut_"] == "2.0"
        assert shown.data.tags["scenerec.run"] == run.config.run_url
        assert shown.data.tags["mlflow.source.git.commit"] == "abc"
        run.reach(12)
        run.folder.storage.put("report.html", b"<html>")
    (ended,) = run.found()
    assert ended.info.status == "FINISHED" and run.steps() == list(range(1, 13))
    assert ended.data.metrics["train/loss"] == 1 / 12 and ended.data.metrics["val/loss"] == 1 / 3
    tops = run.client.get_metric_history(ended.info.run_id, "val/top1")
    assert [(each.step, each.value) for each in tops] == [(4, 0.5), (8, 0.5), (12, 0.5)]
    files = {file.path for file in run.client.list_artifacts(ended.info.run_id)}
    assert files == {"config.yaml", "report.html"}


def test_a_run_that_was_killed_goes_on_in_the_same_place_and_repeats_no_step(run: MirroredRun) -> None:
    run.begin()
    with pytest.raises(KeyboardInterrupt), run.mirror():
        run.reach(6, checkpoint=4)
        wait_until(lambda: run.found() and run.steps() == [1, 2, 3, 4])  # those behind it are made again
        raise KeyboardInterrupt
    assert [shown.info.status for shown in run.found()] == ["KILLED"]
    with pytest.raises(ValueError), run.mirror(framework="tensorflow"):
        run.begin(2e9)
        run.reach(8)
        wait_until(lambda: run.steps() == list(range(1, 9)))
        raise ValueError
    (shown,) = run.found()
    assert shown.info.status == "FAILED"
    assert shown.data.params["framework"] == "torch" and shown.data.tags["changed.framework"] == "tensorflow"


def test_a_run_that_begins_anew_in_the_same_folder_is_another(run: MirroredRun) -> None:
    for time_s in (1e9, 2e9):
        run.folder.clear()
        run.begin(time_s)
        with run.mirror():
            run.reach(4)
    assert len(run.found()) == 2


def test_a_bundle_is_noted_at_its_run(run: MirroredRun) -> None:
    run.begin()
    with run.mirror():
        run.reach(4)
    tell_bundle(run.folder, "fp32", "s3://scenes/bundle")
    assert run.found()[0].data.tags["scenerec.bundle.fp32"] == "s3://scenes/bundle"


def test_a_server_that_is_away_costs_two_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mlflow_thread._LAST_TRIES_S, "FINISHED", 0.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with keep_port() as keeper:
        run = MirroredRun(tmp_path / "runs", f"http://127.0.0.1:{port_of(keeper)}")
        run.begin()
        with run.mirror():
            run.reach(4)
            wait_until(lambda: run.notes)
    first, last = run.notes
    assert first.startswith(f"MLflow at {run.config.track.mlflow} lacks this run for now, and is asked again: ")
    assert last.startswith(f"MLflow at {run.config.track.mlflow} lacks the end of this run, and is given up: ")


def test_where_the_client_is_missing_the_part_is_named(run: MirroredRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_thread, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match=r"pip install 'scenerec\[mlflow\]'"):
        run.mirror()
