"""Whole runs in both frameworks, step by step, without rounding. With float32 and 50 steps: `make bench-parity`."""

from pathlib import Path
from typing import Any

import pytest

from tests.training_parity import difference, follow, make_config, pack_images

IMAGE_SIZE = 32


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_images(tmp_path_factory.mktemp("parity"), IMAGE_SIZE, train_per_class=16)


@pytest.mark.parametrize(
    "optimize",
    [
        {"optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4, "ema_decay": 0.9},
        pytest.param(
            {"optimizer": "adamw", "lr": 0.001, "weight_decay": 0.05, "label_smoothing": 0.1, "clip_grad_norm": 1.0},
            marks=pytest.mark.matrix,
        ),
    ],
)
def test_both_frameworks_are_the_same_function_of_their_batches(sets: Path, optimize: dict[str, Any]) -> None:
    """Warm-up, cosine, validation in between: eight steps, after which float64 has nothing to round away."""
    runs = [
        follow(
            make_config(
                sets,
                framework,
                "resnet18",
                IMAGE_SIZE,
                {"precision": "fp64", "global_batch_size": 16, **optimize},
                f"{framework}-{optimize['optimizer']}",
            )
        )
        for framework in ("torch", "tensorflow")
    ]
    found = difference(*runs)
    assert runs[0].batches == runs[1].batches
    assert len(runs[0].losses) == 8
    assert found.losses.max() < 1e-6
    assert found.weights < 1e-5
    assert found.statistics < 1e-5
