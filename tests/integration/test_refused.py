"""What `scenerec submit` refuses before anything starts: damaged sets, jobs that cannot run, stores out of reach."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from scenerec.cli import app
from scenerec.data.labels import Labels
from scenerec.data.manifest import MANIFEST_KEY
from scenerec.data.shard import parse_shard
from scenerec.storage import open_storage

DAMAGED = "s3://scenes/damaged"

Submit = Callable[..., Result]
Damage = Callable[[str, bytes], bytes | None]


@pytest.fixture
def submit(stored_scenes: str, tmp_path: Path) -> Submit:
    """`scenerec submit` of a job that could run; keywords replace its blocks' keys."""

    def submit(*arguments: str, **blocks: Any) -> Result:
        document: dict[str, Any] = {
            "kind": "train",
            "name": "refused",
            "framework": "torch",
            "data": {"train": f"{stored_scenes}/train", "val": f"{stored_scenes}/val", "image_size": 32},
            "model": {"arch": "resnet18"},
            "optimize": {"epochs": 2, "global_batch_size": 10, "lr": 0.01},
            "scale": {"workers": 2},
            "output": "s3://scenes/runs",
        }
        for name, value in blocks.items():
            document[name] = {**document[name], **value} if isinstance(value, dict) else value
        (tmp_path / "train.yaml").write_text(yaml.safe_dump(document))
        return CliRunner().invoke(app, ["submit", str(tmp_path / "train.yaml"), *arguments])

    return submit


@pytest.fixture
def client(cluster: local.LocalCluster) -> ClusterClient:
    return ClusterClient(find_address())


def copy_with(damage: Damage, stored_scenes: str) -> None:
    """A copy of the set at DAMAGED, in which `damage(key, content)` gave each object's new content, or None for none.

    It is asked in the order of the keys: for a split's shards, then for its manifest.
    """
    target, source = open_storage(DAMAGED), open_storage(stored_scenes)
    for info in list(target.list()):
        target.delete(info.key)
    for info in source.list():
        content = damage(info.key, source.get(info.key))
        if content is not None:
            target.put(info.key, content)


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
    shard = open_storage(DAMAGED).get("train/000000.tar")
    manifest = json.loads(content)
    manifest["shards"][0] |= {"size_bytes": len(shard), "sha256": hashlib.sha256(shard).hexdigest()}
    return json.dumps(manifest).encode()


def _with_cut_image(shard: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for index, sample in enumerate(parse_shard(shard, Labels("cls", tuple(map(str, range(100)))))):
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


def both_manifests(change: Callable[[dict[str, Any]], None]) -> Damage:
    train, val = in_manifest(change), in_manifest(change, "val")

    def damage(key: str, content: bytes) -> bytes | None:
        once = train(key, content)
        return None if once is None else val(key, once)

    return damage


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
    submit: Submit, client: ClusterClient, stored_scenes: str, damage: Damage, message: str, exit_code: int
) -> None:
    copy_with(damage, stored_scenes)
    damaged = {"train": f"{DAMAGED}/train", "val": f"{DAMAGED}/val"}
    refused_with(submit(data=damaged), message, exit_code, client)


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


def refused_with(done: Result, message: str, exit_code: int, client: ClusterClient) -> None:
    """One line that says why, this exit code, and no job."""
    lines = done.stderr.splitlines()
    assert re.search(message, done.stderr), done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert done.exit_code == exit_code
    assert not [job for job in client.jobs() if job.name == "refused"]
