import json
from pathlib import Path

import pytest

from cluster.working_dir import COMMIT_VARIABLE, commit_environment
from jobs.tracking import shown_elsewhere
from scenerec.data.packed_set import open_set
from scenerec.training.node_time import Start
from scenerec.training.run_folder import RunFolder
from tests.conftest import MakeConfig


def test_a_run_is_shown_nowhere_else_unless_its_config_says_so(make_config: MakeConfig) -> None:
    with shown_elsewhere(make_config()) as nowhere:
        assert nowhere is None


def test_mlflow_is_told_where_a_run_comes_from(
    make_config: MakeConfig, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs MLflow's client: pip install 'scenerec[mlflow]'")
    config = make_config(track={"mlflow": f"file://{tmp_path}/mlruns"})
    about = {"name": "test", "run_url": config.run_url, "kind": "train", "framework": "torch", "owner": "anna"}
    for name, value in {
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "SCENEREC_RUN": json.dumps(about),
        "SCENEREC_JOB_ID": "test-abc123",
        **commit_environment(),
    }.items():
        monkeypatch.setenv(name, value)
    RunFolder(config.run_url).add_start(Start(time_s=1e9, workers=1))
    with shown_elsewhere(config):
        pass
    client = mlflow.MlflowClient(config.track.mlflow)
    (run,) = client.search_runs([client.get_experiment_by_name("scenerec").experiment_id])
    told = {
        "mlflow.user": "anna",
        "mlflow.source.name": "test-abc123",
        "mlflow.source.git.commit": commit_environment().get(COMMIT_VARIABLE),
        "scenerec.fingerprint": open_set(f"{scenes}/train").manifest.fingerprint,
    }
    assert {name: run.data.tags.get(name) for name in told} == told
