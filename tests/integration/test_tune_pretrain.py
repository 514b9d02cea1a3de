"""A search over pretrainings: trials that their neighbours judge, of which one is stopped, and the best in full."""

from pathlib import Path

import pytest

from cluster.local import LocalCluster
from scenerec.config.file import parse_as
from scenerec.config.pretrain import PretrainConfig
from scenerec.inference.bundles.bundle import read_info
from scenerec.search.trial_store import SearchFolder
from tests.pretrain_run import pretrain_config
from tests.submitted import submit_document


@pytest.mark.matrix
def test_a_search_over_pretrainings(cluster: LocalCluster, stored_scenes: str, tmp_path: Path) -> None:
    sets = {"train": f"{stored_scenes}/train", "val": f"{stored_scenes}/val"}
    config = pretrain_config(tmp_path, Path("/unused"), data={"train": sets["train"]}, probe=sets)
    job = config.model_dump(mode="json", exclude_unset=True)
    document = {
        "kind": "tune",
        "name": "features-search",
        "base": {name: block for name, block in job.items() if name not in ("kind", "name", "output", "views")},
        "search": {"pretrain.temperature": [0.1, 0.5]},
        "trials": 2,
        "searcher": "grid",
        "retrain": {},
        "output": "s3://scenes/tuned",
    }
    done = submit_document(tmp_path / "tune.yaml", document)
    assert done.returncode == 0, done.stderr
    folder = SearchFolder("s3://scenes/tuned/features-search")
    trials = folder.trials()
    assert sorted(trial.state for trial in trials) == ["finished", "stopped"]
    result = folder.read_result()
    assert result and result["best"]["values"]["val_knn_top1"] == max(
        epoch.validation["val_knn_top1"] for trial in trials for epoch in trial.history
    )
    best = parse_as(PretrainConfig, folder.storage.get("train.yaml").decode(), "train.yaml")
    assert result["retrained"]["run"] == best.run_url
    assert result["retrained"]["bundle"] == f"{best.run_url}/bundles/fp32"
    assert read_info(result["retrained"]["bundle"]).task == "embedding"
