"""`scenerec submit` on a real cluster and a real store, both frameworks: trained, killed, resumed, refused."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from scenerec.data.manifest import MANIFEST_KEY
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.shard import parse_shard
from scenerec.job_log import Note, Progress, parse_line
from scenerec.storage import open_storage
from scenerec.training.run_folder import RunFolder
from tests.submitted import submit_document

FRAMEWORKS = ["torch", "tensorflow"]
SET = "s3://scenes/drawn"
Submit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", autouse=True)
def _packed(cluster: local.LocalCluster, scenes_folder: Path) -> None:
    """The drawn scenes in the store: 100 training and 36 validation images in several shards."""
    pack(PackRequest(source=scenes_folder, destination=SET, options=PackOptions(shard_mb=0.03)))


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "kind": "train",
        "name": "refused",
        "framework": "torch",
        "data": {"train": f"{SET}/train", "val": f"{SET}/val", "image_size": 32},
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


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_killed_worker_and_a_killed_job_cost_no_epoch(
    framework: str, submit: Submit, client: ClusterClient, cluster: local.LocalCluster
) -> None:
    name = f"killed-{framework}"
    settings: dict[str, Any] = {
        "name": name,
        "framework": framework,
        "model": {"arch": "squeezenet1_1"},  # small checkpoints
        "optimize": {"epochs": 12, "optimizer": "adamw", "lr": 0.001},
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

    for driver in job_drivers(cluster):
        driver.kill()
    deadline_s = time.monotonic() + 60
    while not client.job(job).ended:
        assert time.monotonic() < deadline_s, "the job outlived its driver"
        time.sleep(0.5)
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
    assert not list(folder.storage.list("ray/"))


def test_an_interrupted_run_goes_on_in_the_other_framework(submit: Submit, client: ClusterClient) -> None:
    """By its address alone; it ends where the uninterrupted run does, but for the rounding that BatchNorm amplifies."""
    settings: dict[str, Any] = {  # large enough for BatchNorm's statistics; no dropout, whose draws differ
        "data": {"image_size": 64, "augment": {"crop_scale": [0.5, 1]}},
        "optimize": {"epochs": 6, "global_batch_size": 20, "lr": 0.003},
    }
    whole = submit("--json", **settings, name="whole")
    assert whole.returncode == 0, whole.stderr

    job = json.loads(submit("--detach", "--json", **settings, name="moved").stdout.splitlines()[-1])["job"]
    lines_until(client.follow(job), lambda event: isinstance(event, Progress) and (event.epoch, event.step) >= (3, 1))
    client.stop(job)
    run = "s3://scenes/runs/moved"
    steps = int(str(RunFolder(run).latest_checkpoint()).removeprefix("step-"))
    assert 10 <= steps < 30
    command = [sys.executable, "-m", "scenerec", "submit", "--resume", run, "--set", "framework=tensorflow", "--json"]
    resumed = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resumed from step {steps} " in resumed.stderr and "written by torch" in resumed.stderr

    theirs, ours = (json.loads(done.stdout.splitlines()[-1])["last"] for done in (whole, resumed))
    assert (ours["framework"], ours["global_step"]) == ("tensorflow", theirs["global_step"])
    assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=0.15)  # of 1.3 in the first epoch
    assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=0.15)
    assert ours["val_top1"] == pytest.approx(theirs["val_top1"], abs=0.17)  # 6 of 36 images
    frameworks = [epoch.framework for epoch in RunFolder(run).read_history()]
    assert (frameworks[:2], frameworks[-1]) == (["torch", "torch"], "tensorflow")
    by_name = subprocess.run(
        [sys.executable, "-m", "scenerec", "submit", "--resume", "moved"], capture_output=True, text=True, timeout=60
    )
    assert by_name.returncode == 5
    assert f"error: {run}: this run is finished (6 epochs" in by_name.stderr
    assert RunFolder(run).read_config().framework == "tensorflow"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_goes_on_with_another_number_of_workers(framework: str, submit: Submit) -> None:
    """One worker that decodes in a process of its own; then, elastic, as many as there is room for."""
    settings: dict[str, Any] = {"name": f"elastic-{framework}", "framework": framework}
    settings["model"] = {"arch": "squeezenet1_1"}
    first = submit("--json", **settings, optimize={"epochs": 1}, scale={"workers": 1, "cpus_per_worker": 2})
    assert first.returncode == 0, first.stderr
    elastic = {"workers": {"min": 1, "max": 2}, "cpus_per_worker": 1}
    second = submit("--json", **settings, optimize={"epochs": 2}, scale=elastic)
    assert second.returncode == 0, second.stderr
    assert "resumed from step 10 (epoch 2, step 0) on 2 worker(s)" in second.stderr
    history = RunFolder(json.loads(second.stdout.splitlines()[-1])["run"]).read_history()
    assert [(epoch.workers, epoch.global_step) for epoch in history] == [(1, 10), (2, 20)]


def test_a_store_error_while_training_names_the_shard(submit: Submit, client: ClusterClient) -> None:
    """A shard that changes after the job was checked: one line, and the job does not try for ever."""
    storage = open_storage("s3://scenes/changing")
    for split in ("train", "val"):
        source = open_storage(f"{SET}/{split}")
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


def copy_with(damage: Callable[[str, bytes], bytes | None]) -> str:
    """A copy of the set in which `damage(key, content)` gave each object's new content, or None to leave it out."""
    url = "s3://scenes/damaged"
    target, source = open_storage(url), open_storage(SET)
    for info in list(target.list()):
        target.delete(info.key)
    for info in source.list():
        content = damage(info.key, source.get(info.key))
        if content is not None:
            target.put(info.key, content)
    return url


def truncated(key: str, content: bytes) -> bytes:
    return content[: len(content) // 2] if key == "train/000001.tar" else content


def missing(key: str, content: bytes) -> bytes | None:
    return None if key == "train/000001.tar" else content


def flipped(key: str, content: bytes) -> bytes:
    return content[:3000] + bytes([content[3000] ^ 1]) + content[3001:] if key == "train/000000.tar" else content


def unreadable(key: str, content: bytes) -> bytes:
    """One image cut off in a shard that is what its manifest says: packed so by another tool."""
    if key == "train/000000.tar":
        return _with_cut_image(content)
    if key != f"train/{MANIFEST_KEY}":
        return content
    shard = _with_cut_image(open_storage(SET).get("train/000000.tar"))
    manifest = json.loads(content)
    manifest["shards"][0] |= {"size_bytes": len(shard), "sha256": hashlib.sha256(shard).hexdigest()}
    return json.dumps(manifest).encode()


def _with_cut_image(shard: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for index, sample in enumerate(parse_shard(shard)):
            image = sample.image if index else sample.image[:200]
            for name, content in ((f"{sample.key}.jpg", image), (f"{sample.key}.cls", str(sample.label).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def in_manifest(change: Callable[[dict[str, Any]], None], split: str = "train") -> Callable[[str, bytes], bytes]:
    def damage(key: str, content: bytes) -> bytes:
        if key != f"{split}/{MANIFEST_KEY}":
            return content
        manifest = json.loads(content)
        change(manifest)
        return json.dumps(manifest).encode()

    return damage


def label_out_of_range(manifest: dict[str, Any]) -> None:
    counts = manifest["shards"][0]["class_counts"]
    counts["9"] = counts.pop(next(iter(counts)))


def another_count(manifest: dict[str, Any]) -> None:
    shard = manifest["shards"][0]
    label = next(iter(shard["class_counts"]))
    shard["class_counts"][label] += 1
    shard["samples"] += 1


def empty_class(manifest: dict[str, Any]) -> None:
    manifest["classes"].append("volcano")


def both_manifests(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    train, val = in_manifest(change), in_manifest(change, "val")
    return lambda key, content: val(key, train(key, content))


@pytest.mark.parametrize(
    ("damage", "message", "exit_code"),
    [
        (truncated, "000001.tar: has .* bytes, .* in the manifest", 4),
        (missing, "000001.tar: is missing, the manifest has it", 4),
        (flipped, "000000.tar: checksum mismatch", 4),
        (unreadable, "000000.tar: .*: cannot be decoded", 4),
        (in_manifest(another_count), "000000.tar: .* samples, .* in the manifest", 4),
        (in_manifest(label_out_of_range), "a class index is out of range: there are 4 classes", 4),
        (both_manifests(empty_class), "class 'volcano' has no image", 2),
        (in_manifest(empty_class), "its classes are not those of data.train", 2),
        (lambda key, content: None if key == "train/manifest.json" else content, "no packed data set here", 4),
    ],
    ids=[
        "truncated",
        "missing",
        "flipped",
        "unreadable",
        "count",
        "label",
        "empty class",
        "other classes",
        "no manifest",
    ],
)
def test_a_damaged_set_is_refused_before_anything_starts(
    submit: Submit, client: ClusterClient, damage: Any, message: str, exit_code: int
) -> None:
    url = copy_with(damage)
    refused_with(submit(data={"train": f"{url}/train", "val": f"{url}/val"}), message, exit_code, client)


@pytest.mark.parametrize(
    ("settings", "message", "exit_code"),
    [
        ({"data": {"trian": "x"}}, r"train.yaml:\d+: data.trian: unknown key; did you mean `train`\?", 2),
        ({"data": {"train": "s3://scenes/nothing"}}, "s3://scenes/nothing: no packed data set here", 4),
        ({"data": {"train": "s3://nobody/nothing"}}, "there is no bucket `nobody`", 3),
        ({"output": "s3://nobody/runs"}, "there is no bucket `nobody`", 3),
        ({"scale": {"workers": 5}}, "the cluster has room for 2", 2),
        ({"scale": {"workers": 3}}, "10 is not divisible by scale.workers", 2),
        ({"data": {"lanes": 1}}, "2 workers need at least as many lanes, and there are 1", 2),
        ({"optimize": {"global_batch_size": 200}}, "200 exceeds the 100 samples", 2),
        ({"model": {"arch": "resnet19"}}, "model.arch: .*resnet18", 2),
        ({"model": {"weights": "s3://scenes/no.safetensors"}}, "no.safetensors: no such object", 3),
    ],
)
def test_a_job_that_cannot_run_is_refused(
    submit: Submit, client: ClusterClient, settings: dict[str, Any], message: str, exit_code: int
) -> None:
    refused_with(submit(**settings), message, exit_code, client)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "refuses these credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "cannot reach http://127.0.0.1:9"),
    ],
)
def test_the_store_is_checked_first(
    submit: Submit,
    client: ClusterClient,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refused_with(submit("--dry-run"), message, 3, client)


def refused_with(done: "subprocess.CompletedProcess[str]", message: str, exit_code: int, client: ClusterClient) -> None:
    """One line that says why, this exit code, and no job."""
    import re

    lines = done.stderr.splitlines()
    assert re.search(message, done.stderr), done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert done.returncode == exit_code
    assert not [job for job in client.jobs() if job.name == "refused"]
