"""`scenerec submit` on a real cluster and a real store, both frameworks: trained, killed, resumed, disturbed."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from scenerec.cli import app
from scenerec.config.train import TrainConfig
from scenerec.job_log import Note, Progress, Restart, parse_line
from scenerec.storage import open_storage
from scenerec.training.run_folder import RunFolder
from tests.local_run import check_logged_samples, train_here
from tests.patience import PATIENCE_S, wait_until
from tests.submitted import submit_document

Submit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def document(stored_scenes: str) -> dict[str, Any]:
    return {
        "kind": "train",
        "name": "refused",
        "framework": "torch",
        "data": {
            "train": f"{stored_scenes}/train",
            "val": f"{stored_scenes}/val",
            "image_size": 32,
            "log_samples": True,
        },
        "model": {"arch": "resnet18"},
        "optimize": {"epochs": 2, "global_batch_size": 10, "lr": 0.01},
        "scale": {"workers": 2},
        "checkpoint": {"every_steps": 3},
        "output": "s3://scenes/runs",
    }


@pytest.fixture
def submit(document: dict[str, Any], tmp_path: Path) -> Submit:
    """`scenerec submit` of the document, as a user would; keywords replace its blocks' keys."""

    def submit(*arguments: str, **blocks: Any) -> "subprocess.CompletedProcess[str]":
        for name, value in blocks.items():
            document[name] = {**document[name], **value} if isinstance(value, dict) else value
        return submit_document(tmp_path / "train.yaml", document, *arguments)

    return submit


@pytest.fixture
def client(cluster: local.LocalCluster) -> ClusterClient:
    return ClusterClient(find_address())


def lines_until(lines: Iterator[str], wanted: Callable[[Any], bool]) -> list[str]:
    """Reads a job's log up to the first line whose event is `wanted`."""
    seen = []
    for line in lines:
        seen.append(line)
        if wanted(parse_line(line)):
            return seen
    raise AssertionError("the job ended before that:\n" + "\n".join(seen[-40:]))


def training_workers() -> list[psutil.Process]:
    """The processes of this machine that train for a job of this cluster: children of our own raylet."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "RayTrainWorker" in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


def of_cluster(processes: list[psutil.Process], cluster: local.LocalCluster) -> list[psutil.Process]:
    """Those that carry this cluster's store address: others may run on this machine."""
    ours = []
    for process in processes:
        try:
            if process.environ().get("AWS_ENDPOINT_URL") == cluster.store_url:
                ours.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return ours


def job_drivers(cluster: local.LocalCluster) -> list[psutil.Process]:
    drivers = [p for p in psutil.process_iter(["cmdline"]) if "jobs.train" in " ".join(p.info["cmdline"] or [])]
    return of_cluster(drivers, cluster)


@pytest.mark.parametrize("framework", ["tensorflow", pytest.param("torch", marks=pytest.mark.matrix)])
def test_a_killed_worker_and_a_killed_job_cost_no_epoch(
    framework: str, submit: Submit, client: ClusterClient, cluster: local.LocalCluster
) -> None:
    name = f"killed-{framework}"
    settings: dict[str, Any] = {
        "name": name,
        "framework": framework,
        "model": {"arch": "squeezenet1_1"},  # small checkpoints
        "optimize": {"epochs": 12, "optimizer": "adamw", "lr": 0.001},
        "data": {"train_size": 24, "repeats": 2, "eval_crops": 10, "augment": {"trivial_augment": True, "erase": 0.25}},
    }
    detached = json.loads(submit("--detach", "--json", **settings).stdout.splitlines()[-1])
    job = detached["job"]
    lines = client.follow(job)

    lines_until(lines, lambda event: isinstance(event, Progress) and (event.epoch, event.step) >= (2, 4))
    workers = of_cluster(training_workers(), cluster)
    assert len(workers) == 2
    workers[-1].kill()
    recovered = lines_until(lines, lambda event: isinstance(event, Note) and "resumed from step" in event.text)
    lines_until(lines, lambda event: isinstance(event, Progress) and event.epoch >= 3)
    assert any("resumed from step" in line for line in recovered)
    (restart,) = [event for line in recovered if isinstance(event := parse_line(line), Restart)]
    assert re.fullmatch(r"worker [01] on 127\.0\.0\.1 was lost; restart 1 of 3", restart.words)

    for driver in job_drivers(cluster):
        with suppress(psutil.NoSuchProcess):  # where one of them is the child of another
            driver.kill()
    wait_until(lambda: client.job(job).ended, "the end of a job whose driver was killed")
    assert client.job(job).status == "FAILED"

    again = submit("--json", **settings)
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout.splitlines()[-1])
    assert "resumed from step" in again.stderr
    assert result["last"]["epoch"] == 12
    folder = RunFolder(f"s3://scenes/runs/{name}")
    history = folder.read_history()
    assert [epoch.epoch for epoch in history] == list(range(1, 13))
    assert [epoch.global_step for epoch in history] == list(range(10, 130, 10))
    assert history[-1].train_loss < history[0].train_loss
    first, after_worker, after_job = folder.read_starts()
    assert (first.workers, first.global_step, first.saved_s) == (2, 0, 0)
    assert first.time_s < after_worker.saved_s < after_worker.time_s < after_job.saved_s < after_job.time_s
    assert folder.read_result() == result
    assert (result["usage"]["restarts"], result["usage"]["node_hours_wasted"]) == (0, 0)  # of the second job
    assert 0 < result["usage"]["node_hours"] < 1
    assert not list(folder.storage.list("ray/"))
    check_logged_samples(folder.url)
    ten = result["ten_crops"]
    assert (ten["samples"], ten["predictor"]) == (36, result["best_checkpoint"])
    assert ten["top1_center_crop"] == pytest.approx(result["best"]["val_top1"])
    evaluated = json.loads(open_storage(ten["evaluation"]).get("evaluation.json"))
    assert evaluated["evaluation"]["top1"] == ten["top1"]


def checkpointed_steps(run: str) -> int:
    """Steps of the newest checkpoint; 0 where there is none."""
    return int((RunFolder(run).latest_checkpoint() or "step-0").removeprefix("step-"))


def halt_worker_when(happened: Callable[[], bool], cluster: local.LocalCluster) -> psutil.Process:
    """Lets the worker of the only job run for moments only, until it has happened: then it stands still."""
    found: list[psutil.Process] = []

    def begun() -> bool:
        found[:] = of_cluster(training_workers(), cluster)  # among them, for a moment, one of a job that has ended
        return len(found) == 1

    wait_until(begun, "a worker that trains", 2 * PATIENCE_S)
    [worker] = found
    worker.suspend()

    def has_run_and_it_happened() -> bool:
        worker.resume()
        time.sleep(0.2)  # two to five steps
        worker.suspend()
        return happened()

    wait_until(has_run_and_it_happened, "what the worker is to do", 2 * PATIENCE_S)
    return worker


def test_an_interrupted_run_goes_on_in_the_other_framework(
    document: dict[str, Any], submit: Submit, client: ClusterClient, cluster: local.LocalCluster
) -> None:
    """By its address alone; it ends where the uninterrupted run does, but for the rounding that BatchNorm amplifies.

    The uninterrupted run is one without a cluster; the job's worker decodes in a process of its own.
    """
    settings: dict[str, Any] = {  # large enough for BatchNorm's statistics
        "data": document["data"] | {"image_size": 64, "augment": {"crop_scale": [0.5, 1]}},
        "optimize": {"epochs": 6, "global_batch_size": 20, "lr": 0.003},
        "scale": {"workers": 1, "cpus_per_worker": 2},
    }
    whole = {**document, **settings, "name": "whole", "scale": {"workers": 1}}
    theirs = train_here(TrainConfig.model_validate(whole))["last"]

    run = "s3://scenes/runs/moved"
    job = json.loads(submit("--detach", "--json", **settings, name="moved").stdout.splitlines()[-1])["job"]
    worker = halt_worker_when(lambda: checkpointed_steps(run) >= 10, cluster)
    client.stop(job)
    with suppress(psutil.NoSuchProcess):  # Ray may have killed it
        worker.kill()
    steps = checkpointed_steps(run)
    assert 10 <= steps < 30
    command = [sys.executable, "-m", "scenerec", "submit", "--resume", run, "--set", "framework=tensorflow", "--json"]
    resumed = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resumed from step {steps} " in resumed.stderr and "written by torch" in resumed.stderr

    ours = json.loads(resumed.stdout.splitlines()[-1])["last"]
    assert (ours["framework"], ours["global_step"]) == ("tensorflow", theirs["global_step"])
    assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=0.15)  # of 1.3 in the first epoch
    assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=0.15)
    assert ours["val_top1"] == pytest.approx(theirs["val_top1"], abs=0.17)  # 6 of 36 images
    frameworks = [epoch.framework for epoch in RunFolder(run).read_history()]
    assert (frameworks[:2], frameworks[-1]) == (["torch", "torch"], "tensorflow")
    check_logged_samples(run)
    by_name = CliRunner().invoke(app, ["submit", "--resume", "moved"])
    assert by_name.exit_code == 5
    assert f"error: {run}: this run is finished (6 epochs" in by_name.stderr
    assert RunFolder(run).read_config().framework == "tensorflow"


@pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=pytest.mark.matrix)])
def test_a_run_goes_on_with_another_number_of_workers(framework: str, document: dict[str, Any], submit: Submit) -> None:
    """One without a cluster; then, elastic, as many as there is room for."""
    settings: dict[str, Any] = {"name": f"elastic-{framework}", "framework": framework}
    settings["model"] = {"arch": "squeezenet1_1"}
    optimize = document["optimize"] | {"epochs": 1}
    train_here(TrainConfig.model_validate({**document, **settings, "optimize": optimize, "scale": {"workers": 1}}))
    elastic = {"workers": {"min": 1, "max": 2}, "cpus_per_worker": 1}
    second = submit("--json", **settings, optimize={"epochs": 2}, scale=elastic)
    assert second.returncode == 0, second.stderr
    assert "resumed from step 10 (epoch 2, step 0) on 2 worker(s)" in second.stderr
    history = RunFolder(json.loads(second.stdout.splitlines()[-1])["run"]).read_history()
    assert [(epoch.workers, epoch.global_step) for epoch in history] == [(1, 10), (2, 20)]
    check_logged_samples(f"s3://scenes/runs/{settings['name']}")


def test_a_store_error_while_training_names_the_shard(
    stored_scenes: str, submit: Submit, client: ClusterClient
) -> None:
    """A shard that changes after the job was checked: one line, and the job does not try for ever."""
    storage = open_storage("s3://scenes/changing")
    for split in ("train", "val"):
        source = open_storage(f"{stored_scenes}/{split}")
        for info in source.list():
            storage.put(f"{split}/{info.key}", source.get(info.key))
    data = {"train": "s3://scenes/changing/train", "val": "s3://scenes/changing/val"}
    settings: dict[str, Any] = {"name": "changing", "data": data, "optimize": {"epochs": 40}}
    job = json.loads(submit("--detach", "--json", **settings).stdout.splitlines()[-1])["job"]
    lines = client.follow(job)
    lines_until(lines, lambda event: isinstance(event, Progress))
    content = bytearray(storage.get("train/000000.tar"))
    content[2000] ^= 1
    storage.put("train/000000.tar", bytes(content))
    rest = list(lines)
    errors = [line for line in rest if line.startswith("[error]")]
    assert len(errors) == 1
    assert "s3://scenes/changing/train/000000.tar: checksum mismatch" in errors[0]
    assert client.job(job).exit_code == 4
