"""The trials of a search in MLflow: a store of MLflow's own, filled from the trials' folders."""

from pathlib import Path

import pytest

from scenerec.errors import MissingPartError
from scenerec.job_log import Event
from scenerec.search.levels import trial_levels
from scenerec.search.mlflow_trials import MlflowTrials
from scenerec.search.trial import Trial
from scenerec.search.trial_store import SearchFolder
from scenerec.training import mlflow_thread
from scenerec.training.node_time import Start
from scenerec.training.run_folder import RunFolder
from tests.mirrored_run import epoch, line
from tests.patience import wait_until
from tests.tiny_search import MakeSearch, invented, search_document

mlflow = pytest.importorskip("mlflow", reason="needs MLflow's client: pip install 'scenerec[mlflow]'")


def test_trials_are_shown_when_they_have_ended(
    make_search: MakeSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    track = {"mlflow": f"file://{tmp_path}/mlruns", "experiment": "scenes"}
    search = make_search(base={**search_document()["base"], "track": track})
    folder, client, said = SearchFolder(search.run_url), mlflow.MlflowClient(track["mlflow"]), list[Event]()

    def write(number: int, state: str) -> None:
        """A trial of learning rate 0.1 x (number + 1), that has trained an epoch unless it was refused."""
        point = {"optimize.lr": 0.1 * (number + 1)}
        config = trial_levels(search, number, point)[0].config
        if state != "refused":
            run = RunFolder(config.run_url)
            run.write_config(config)
            if not run.read_starts():
                run.add_start(Start(time_s=1e9, workers=1))
            run.write_steps("".join(f"{line(step).model_dump_json()}\n" for step in range(1, 5)).encode(), b"")
            run.write_metrics([epoch(1)])
        trial: Trial = invented(number, 0.5, state=state, point=point, run=config.run_url)
        folder.write(trial)

    def shown() -> dict[str, str]:
        """States by the names of the runs in MLflow."""
        experiment = client.get_experiment_by_name("scenes")
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        return {run.info.run_name: run.info.status for run in runs}

    for number, state in enumerate(("finished", "running", "failed", "refused")):
        write(number, state)
    with MlflowTrials(search, said.append, {"mlflow.user": "ada"}, every_s=0.02):
        wait_until(lambda: shown() == {"rooms/0000": "FINISHED", "rooms/0002": "FAILED"})
        write(1, "stopped")
    ended = {"rooms/0000": "FINISHED", "rooms/0001": "KILLED", "rooms/0002": "FAILED"}
    assert shown() == ended
    with MlflowTrials(search, said.append, every_s=0.02):  # a later session of the search
        pass
    assert shown() == ended
    (stopped,) = client.search_runs(
        [client.get_experiment_by_name("scenes").experiment_id], "params.optimize.lr = '0.2'"
    )
    assert stopped.data.metrics["val/loss"] == 1 and stopped.data.metrics["train/loss"] == 0.25
    assert stopped.data.tags["scenerec.search"] == search.run_url and stopped.data.tags["scenerec.trial"] == "stopped"
    assert stopped.data.tags["mlflow.user"] == "ada"


def test_without_mlflow_a_search_does_not_begin(make_search: MakeSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_thread, "find_spec", lambda name: None)
    search = make_search(base={**search_document()["base"], "track": {"mlflow": "http://10.0.0.7:5000"}})
    with pytest.raises(MissingPartError, match="needs mlflow where the job runs"):
        MlflowTrials(search, lambda event: None)
