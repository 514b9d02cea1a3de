"""A probe as a job of a cluster: planned, run by workers of which one is killed, followed, and used as a run."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from cluster.local import LocalCluster
from scenerec.cli import app
from scenerec.commands.connect import connect_or_start
from scenerec.commands.queue_options import queue_request
from scenerec.commands.submit import start_job
from scenerec.data.manifest import MANIFEST_KEY
from scenerec.training.probing.prober import probe
from tests.held_file import HeldFile
from tests.patience import PATIENCE_S
from tests.probe_config import ARCH, probe_config


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_killed_worker_changes_nothing(cluster: LocalCluster, scenes: Path, tmp_path: Path) -> None:
    """It is killed in the middle of its first shard."""
    sets = shutil.copytree(scenes, tmp_path / "sets")
    here = probe_config(sets, tmp_path / "here", scale={"workers": 2})
    config = here.model_copy(update={"output": f"s3://scenes/probes-{time.monotonic_ns()}"})
    (tmp_path / "probe.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    planned = run("submit", tmp_path / "probe.yaml", "--dry-run")
    assert "136 images to compute" in planned.stdout, planned.output

    first = json.loads((sets / "train" / MANIFEST_KEY).read_text())["shards"][0]["key"]
    held = HeldFile(sets / "train" / first)
    client = connect_or_start(None)
    job = start_job(client, config, queue_request(config, ()))
    command = [sys.executable, "-m", "scenerec", "logs", "-f", job]
    followed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        held.kill_reader(followed)
        told, _ = followed.communicate(timeout=2 * PATIENCE_S)
    finally:
        followed.kill()
    assert followed.returncode == 0, told
    assert f"{ARCH} (random)" in told and "136 of 136 images" in told

    status = json.loads(run("status", job, "--json").stdout)
    assert (status["kind"], status["framework"], status["status"]) == ("probe", "torch", "SUCCEEDED")
    (row,), (ours,) = status["result"]["backbones"], probe(here)["backbones"]
    assert row["feature_seconds"] > 0
    for value in ("linear_top1", "linear_top5", "linear_loss", "train_loss", "knn_top1", "decay"):
        assert row[value] == pytest.approx(ours[value], rel=1e-6)
    refused = run("submit", tmp_path / "probe.yaml", "--dry-run")
    assert (refused.exit_code, "this probe is finished" in refused.stderr) == (5, True)
    answered = run("evaluate", config.run_url, "--json")
    assert json.loads(answered.stdout.splitlines()[-1])["evaluation"]["top1"] == row["linear_top1"], answered.output
