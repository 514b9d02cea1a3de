import io
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.local import LocalCluster
from scenerec.cli import app
from scenerec.data.integrity import check_set
from scenerec.data.manifest import Manifest, read_manifest
from scenerec.data.packed_set import open_set
from scenerec.data.packing.add import Addition, AddRequest
from scenerec.data.packing.pack import PackOptions, PackRequest, pack
from scenerec.data.pool import process_runner
from scenerec.data.synthetic import draw_scenes
from scenerec.errors import DataError
from scenerec.storage import LocalStorage, open_storage


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack") / "scenes"
    draw_scenes(folder, classes=3, train_per_class=20, val_per_class=5, size=64)
    return folder


@pytest.fixture(scope="module")
def packed_locally(scenes: Path) -> Manifest:
    destination = scenes.parent / "packed"
    pack(request(scenes, str(destination)))
    return read_manifest(LocalStorage(destination))


def request(source: Path, destination: str) -> PackRequest:
    return PackRequest(source=source, destination=destination, split="train", options=PackOptions(shard_mb=0.03))


def test_an_interrupted_pack_to_s3_goes_on_to_the_same_set(
    cluster: LocalCluster, scenes: Path, packed_locally: Manifest
) -> None:
    url = f"s3://scenes/packed-{time.monotonic_ns()}"

    def stop_after_two(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        yield from islice(process_runner(2)(function, tasks), 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(request(scenes, url), stop_after_two)
    (split,) = pack(request(scenes, url), process_runner(2)).splits
    assert split.resumed_shards >= 2
    storage = open_storage(url)
    manifest = read_manifest(storage)
    assert manifest == packed_locally
    assert {info.key for info in storage.list()} == {"manifest.json", *(shard.key for shard in manifest.shards)}
    assert check_set(storage, manifest, run=process_runner(2)).defects == ()

    storage.delete(manifest.shards[0].key)
    assert [defect.problem for defect in check_set(storage, manifest).defects] == ["the shard is missing"]


def test_a_pack_job_on_the_cluster_writes_the_same_set(
    cluster: LocalCluster, scenes: Path, packed_locally: Manifest
) -> None:
    url = f"s3://scenes/packed-{time.monotonic_ns()}"
    arguments = ["data", "pack", str(scenes), url, "--split", "train", "--shard-mb", "0.03"]
    arguments += ["--address", cluster.dashboard_url]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["splits"][0]["samples"] == 60
    assert read_manifest(open_storage(url)) == packed_locally

    refused = CliRunner().invoke(app, [*arguments, "--seed", "1"])
    assert refused.exit_code == 4
    assert f"error: {url}: holds another packed data set" in refused.stderr


def test_shards_of_somebody_else_in_s3_become_a_set(cluster: LocalCluster, scenes: Path) -> None:
    url = f"s3://scenes/foreign-{time.monotonic_ns()}"
    storage, pictures = open_storage(url), sorted(scenes.glob("val/*/*.jpg"))
    for shard in range(3):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz" if shard else "w") as tar:
            for index, path in enumerate(pictures[shard::3]):
                for suffix, content in (("jpg", path.read_bytes()), ("txt", path.parent.name.encode())):
                    info = tarfile.TarInfo(f"{shard}{index}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        storage.put(f"part-{shard}.tar{'.gz' if shard else ''}", buffer.getvalue())
    options = ["--labels", "txt", "--split", "val", "--processes", "1"]
    result = CliRunner().invoke(app, ["data", "adopt", f"{url}/part-?.tar*", *options])
    assert result.exit_code == 0, result.output
    assert "15 images of 3 classes in 3 shards" in result.output
    data = open_set(f"{url}/val")
    assert (data.storage.url, data.url) == (url, f"{url}/val")
    assert [len(data.read(index)) for index in range(3)] == [5, 5, 5]
    missing = CliRunner().invoke(app, ["data", "adopt", f"{url}/part-{{1..3}}.tar.gz", *options, "--overwrite"])
    assert missing.exit_code == 4
    assert "part-3.tar.gz: there is no such object" in missing.stderr


def test_images_are_added_by_a_job_of_the_cluster(
    cluster: LocalCluster, scenes: Path, packed_locally: Manifest, tmp_path: Path
) -> None:
    url = f"s3://scenes/grown-{time.monotonic_ns()}"
    pack(request(scenes, url))
    draw_scenes(tmp_path / "more", classes=3, train_per_class=4, val_per_class=1, size=64, seed=9)
    arguments = ["data", "add", str(tmp_path / "more"), url, "--split", "train", "--json"]
    job = CliRunner().invoke(app, [*arguments, "--address", cluster.dashboard_url])
    assert job.exit_code == 0, job.output
    [told] = json.loads(job.stdout.splitlines()[-1])["sets"]
    assert (told["added"], told["samples"]) == (12, packed_locally.samples + 12)
    here = CliRunner().invoke(app, [*arguments, "--processes", "1"])
    assert "these images were added before" in here.stdout, here.output


def test_images_are_added_to_a_set_in_s3_by_one_of_two_writers(
    cluster: LocalCluster, scenes: Path, packed_locally: Manifest, tmp_path: Path
) -> None:
    url = f"s3://scenes/added-{time.monotonic_ns()}"
    pack(request(scenes, url))
    draw_scenes(tmp_path / "more", classes=3, train_per_class=4, val_per_class=1, size=64, seed=9)
    additions = [
        Addition(AddRequest(source=tmp_path / "more", destination=url, split="train", options=PackOptions(seed=seed)))
        for seed in (1, 2)
    ]
    for addition in additions:
        addition.read_known(process_runner(2))
    [added] = additions[0].pack(process_runner(2))
    assert (added.added, added.samples) == (12, packed_locally.samples + 12)
    with pytest.raises(DataError, match="was changed while images were added to it"):
        additions[1].pack(process_runner(2))
    storage = open_storage(url)
    manifest = read_manifest(storage)
    assert manifest.shards[:-1] == packed_locally.shards
    assert {info.key for info in storage.list()} == {"manifest.json", *(shard.key for shard in manifest.shards)}
    assert check_set(storage, manifest, run=process_runner(2)).defects == ()
