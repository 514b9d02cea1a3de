"""A job on the cluster that trains on several sets, one of which somebody else wrote, with a cache on the node."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.data.packed_set import open_set
from scenerec.storage import open_storage
from scenerec.training.run_folder import RunFolder
from tests.local_run import check_logged_samples
from tests.submitted import submit_document

FOREIGN = "s3://scenes/foreign"


@pytest.fixture(scope="module")
def adopted(stored_scenes: str) -> str:
    """The training shards where no manifest lies beside them, adopted by the command."""
    ours, theirs = open_set(f"{stored_scenes}/train"), open_storage(FOREIGN)
    for number, shard in enumerate(ours.manifest.shards):
        theirs.put(f"part-{number}.tar", ours.storage.get(shard.key))
    theirs.put("names.txt", "\n".join(ours.manifest.classes).encode())
    last = len(ours.manifest.shards) - 1
    result = CliRunner().invoke(
        app, ["data", "adopt", f"{FOREIGN}/part-{{0..{last}}}.tar", "--classes", f"{FOREIGN}/names.txt"]
    )
    assert result.exit_code == 0, result.output
    return FOREIGN


@pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=pytest.mark.matrix)])
def test_a_job_trains_on_an_adopted_set_beside_another_with_a_cache(
    adopted: str, stored_scenes: str, tmp_path: Path, framework: str
) -> None:
    """By the data order to the sample; each shard is fetched once for both workers and all epochs."""
    folder, name = tmp_path / "cache", f"mixture-{framework}"
    document: dict[str, Any] = {
        "kind": "train",
        "name": name,
        "framework": framework,
        "data": {
            "train": [{"set": adopted, "weight": 1}, {"set": f"{stored_scenes}/train", "weight": 2}],
            "val": f"{stored_scenes}/val",
            "image_size": 32,
            "balance": 0.5,
            "cache": {"folder": str(folder), "size_gb": 1},
            "log_samples": True,
        },
        "model": {"arch": "squeezenet1_1"},
        "optimize": {"epochs": 3, "global_batch_size": 20, "lr": 0.01, "class_weights": {"beach": 2}},
        "scale": {"workers": 2},
        "output": "s3://scenes/runs",
    }
    done = submit_document(tmp_path / "train.yaml", document)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "class weights" in done.stdout + done.stderr
    run_url = f"s3://scenes/runs/{name}"
    check_logged_samples(run_url)
    history = RunFolder(run_url).read_history()
    assert (history[0].fetched_bytes_per_s or 0) > 0
    assert history[2].fetched_bytes_per_s == 0
    kept = {path.name.partition(".")[0] for path in folder.rglob("*") if path.is_file()}
    shards = {shard.sha256 for url in (adopted, f"{stored_scenes}/train") for shard in open_set(url).manifest.shards}
    assert shards <= kept
