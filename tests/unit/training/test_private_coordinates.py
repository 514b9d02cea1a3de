"""Coordinates are private: numbers that are planted into a set are in nothing that a job says or leaves."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.data.packed_set import open_set
from scenerec.data.packing.pack import PackOptions, PackRequest, pack
from scenerec.data.synthetic import draw_scenes
from scenerec.inference.evaluation.evaluator import examine_here
from scenerec.inference.evaluation.report import write_outcome
from scenerec.inference.evaluation.request import EvaluationRequest
from tests.conftest import small_config
from tests.local_run import train_here

LATITUDE, LONGITUDE = 47.654321, -8.765432
PLANTED = [text.encode() for text in ("47.65", "8.765")]
PLANTED += [kind(value).tobytes() for kind in (np.float32, np.float64) for value in (LATITUDE, LONGITUDE)]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Packed scenes, all taken at one place."""
    draw_scenes(tmp_path / "images", classes=2, train_per_class=8, val_per_class=4, size=32)
    files = sorted(path.relative_to(tmp_path / "images") for path in (tmp_path / "images").rglob("*.jpg"))
    table = tmp_path / "where.csv"
    rows = "".join(f"{file},{LATITUDE},{LONGITUDE},2021-11-13T14:15\n" for file in files)
    table.write_text(f"file,latitude,longitude,time\n{rows}")
    request = PackRequest(
        source=tmp_path / "images",
        destination=str(tmp_path / "packed"),
        coordinates=table,
        options=PackOptions(shard_mb=0.01),
    )
    told: list[str] = []
    pack(request, say=told.append)
    assert not found_in("\n".join(told).encode())
    return tmp_path / "packed"


def found_in(content: bytes) -> list[bytes]:
    return [each for each in PLANTED if each in content]


def test_they_are_in_the_shards_alone(
    planted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in planted.rglob("*"):
        if path.is_file():
            assert bool(found_in(path.read_bytes())) == (path.suffix == ".tar"), path
    told: list[Any] = []
    config = small_config(
        planted,
        tmp_path / "runs",
        data={"log_samples": True},
        model={"arch": "squeezenet1_1", "geo": {"width": 8, "blocks": 1}},
        optimize={"epochs": 1, "global_batch_size": 8},
    )
    told += [train_here(config, told.append)]
    run = f"{tmp_path}/runs/test"
    asked = EvaluationRequest.model_validate({"subject": {"target": run}, "data": f"{planted}/val"})
    outcome = examine_here(asked)
    assert outcome.evaluations[0].top1_without_coordinates is not None  # so that they were told to the network
    write_outcome(outcome, f"{tmp_path}/evaluation")
    for folder in (tmp_path / "runs", tmp_path / "evaluation"):
        left = [path for path in folder.rglob("*") if path.is_file()]
        assert len(left) >= 3
        assert not [path for path in left if found_in(path.read_bytes())]
    said = capfd.readouterr()
    assert not found_in("\n".join([repr(told), said.out, said.err, *caplog.messages]).encode())
    shard = planted / "train" / "000000.tar"
    damaged = shard.read_bytes().replace(b"47.654321", b"97.654321")
    shard.write_bytes(damaged)
    with pytest.raises(Exception) as caught:
        open_set(f"{planted}/train").read(0)
    assert "97.65" not in str(caught.value) and "8.765" not in str(caught.value)
