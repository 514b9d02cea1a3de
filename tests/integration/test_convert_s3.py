"""Weights from and to the real store."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.errors import NotFoundError
from scenerec.models import torch_model
from scenerec.models.weights.files import read_weights, write_weights
from scenerec.storage import S3Storage

ARCH = "squeezenet1_1"


def test_weights_go_through_the_store_unchanged(store: None, tmp_path: Path) -> None:
    state = torch_model.state(torch_model.build(ARCH, 5, seed=3))
    write_weights(f"{tmp_path}/a.safetensors", "safetensors", state, ARCH, classes=5, image_size=64)
    store = f"s3://scenes/convert-{time.monotonic_ns()}"
    steps = [
        (f"{tmp_path}/a.safetensors", f"{store}/b.pth"),
        (f"{store}/b.pth", f"{store}/c", "--to", "savedmodel", "--arch", ARCH, "--image-size", "64"),
        (f"{store}/c", f"{store}/d.keras"),
        (f"{store}/d.keras", f"{store}/e", "--to", "checkpoint"),
    ]
    for marker in ("c/", "c/assets.extra/"):  # which consoles make for folders
        client = S3Storage("scenes").client
        client.put_object(Bucket="scenes", Key=f"{store.removeprefix('s3://scenes/')}/{marker}")
    for step in steps:
        result = CliRunner().invoke(app, ["convert", *step, "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["destination"] == step[1]
    for _, url, *_ in steps:
        read = read_weights(url)
        assert set(read.state) == set(state)
        assert all(np.array_equal(read.state[key], array) for key, array in state.items())

    again = CliRunner().invoke(app, ["convert", *steps[3]])
    assert again.exit_code == 3
    assert again.stderr == f"error: {store}/e: is there already: --force replaces it\n"
    with pytest.raises(NotFoundError):
        read_weights(f"{store}/gone.pth")
