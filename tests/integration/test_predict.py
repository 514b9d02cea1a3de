"""Bulk prediction on a cluster: every image once, as here, whatever dies; from and to a store."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image
from typer.testing import CliRunner

from cluster.local import LocalCluster
from scenerec.cli import app
from scenerec.storage import open_storage
from tests.colour_set import CLASSES, PER_CLASS, pack_colours
from tests.held_file import HeldFile
from tests.patience import PATIENCE_S
from tests.tiny_bundle import make_tiny_bundle

STORED = 9


def test_each_image_is_answered_once_also_when_a_worker_dies(cluster: LocalCluster, tmp_path: Path) -> None:
    """A set of this machine, one of whose readers is killed, and pictures in the store."""
    model = make_tiny_bundle(tmp_path / "model", labels=CLASSES).url
    packed = pack_colours(tmp_path / "colours")
    photos, output = (open_storage(f"s3://scenes/{name}-{time.monotonic_ns()}") for name in ("photos", "answers"))
    for index in range(STORED):
        picture = io.BytesIO()
        Image.new("RGB", (20, 16), tuple(10 + 20 * index if index % 3 == each else 5 for each in range(3))).save(
            picture, "PNG"
        )
        photos.put(f"{index % 2}/{index}.png", picture.getvalue())
    photos.put("broken.jpg", b"not an image")
    shared = ["predict", packed, photos.url, "-m", model, "--images-per-part", "4", "--json"]
    held = HeldFile(Path(packed) / "000001.tar")
    command = [sys.executable, "-m", "scenerec", *shared, "--output", output.url, "--workers", "2"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        held.kill_reader(running)
        stdout, stderr = running.communicate(timeout=2 * PATIENCE_S)
    finally:
        running.kill()
    assert running.returncode == 4, stderr
    result, images = json.loads(stdout), 3 * PER_CLASS + STORED
    assert (result["images"], result["answered"], result["unreadable"]) == (images + 1, images, 1)
    assert f"{images + 1} of {images + 1} images" in stderr

    here = CliRunner().invoke(app, [*shared, "--output", str(tmp_path / "here.parquet")])
    assert here.exit_code == 4, here.output
    parts = {each.key: output.get(each.key) for each in output.list("part-")}
    table = pq.read_table(tmp_path / "here.parquet")
    assert [row for part in parts.values() for row in pq.read_table(io.BytesIO(part)).to_pylist()] == table.to_pylist()
    listed = [f"{photos.url}/{each.key}" for each in photos.list() if each.key != "broken.jpg"]
    answered = table["image"].to_pylist()
    assert sorted(image for image in answered if image.startswith("s3://")) == sorted(listed)
    assert len(set(answered)) == len(answered) == images
    assert f"{photos.url}/broken.jpg,".encode() in output.get("_unreadable.csv")

    printed = CliRunner().invoke(app, ["predict", f"{photos.url}/0", f"{photos.url}/1/1.png", "-m", model, "-k", "1"])
    assert [line.split(": ")[0] for line in printed.stdout.splitlines()] == [
        *(f"{photos.url}/0/{index}.png" for index in range(0, STORED, 2)),
        f"{photos.url}/1/1.png",
    ]
    output.delete("part-000001.parquet")
    again = CliRunner().invoke(app, [*shared, "--output", output.url])
    assert json.loads(again.stdout)["parts_before"] == result["parts"] - 1
    assert {each.key: output.get(each.key) for each in output.list("part-")} == parts
