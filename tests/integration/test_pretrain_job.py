"""A pretraining as a user has it: submitted, followed, listed, and refused where classes are wanted."""

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner, Result

from cluster.local import LocalCluster
from scenerec.cli import app
from tests.pretrain_run import MOCO, pretrain_config


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_pretraining_is_a_job_like_others(cluster: LocalCluster, stored_scenes: str, tmp_path: Path) -> None:
    optimize, data = {"epochs": 1}, {"train": f"{stored_scenes}/train"}
    probe = {**data, "val": f"{stored_scenes}/val"}
    config = pretrain_config(
        tmp_path, Path("/unused"), pretrain=MOCO, scale={"workers": 2}, optimize=optimize, data=data, probe=probe
    )
    document = {**config.model_dump(mode="json", exclude_unset=True), "output": "s3://scenes/pretrained"}
    (tmp_path / "pretrain.yaml").write_text(yaml.safe_dump(document))
    done = run("submit", tmp_path / "pretrain.yaml", "--json")
    assert done.exit_code == 0, done.output
    assert "squeezenet1_1, mocov2, in torch" in done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["best"]["val_knn_top1"] > 0.25 and "val_linear_top1" in result["last"]
    (listed,) = [job for job in json.loads(run("list", "--json").stdout) if job["name"] == config.name]
    assert (listed["kind"], listed["framework"], listed["status"]) == ("pretrain", "torch", "SUCCEEDED")
    status = json.loads(run("status", config.name, "--json").stdout)
    (epoch,) = status["history"]
    assert epoch["workers"] == 2 and epoch["val_embedding_std"] > 0
    assert "k-NN top-1" in run("status", config.name).stdout
    refused = run("evaluate", config.name, "--data", probe["val"])
    assert "is of a pretraining, which knows no classes: train a head on it" in refused.stderr, refused.output
    exported = run("export", config.name, "--images", 8)
    assert exported.exit_code == 0 and ", 512 features, 32 px, by torch" in exported.stdout, exported.output
    judged = run("evaluate", f"{result['run']}/bundles/fp32", "--data", probe["val"])
    assert "top-1 of the 20 nearest other images: " in judged.stdout, judged.output
