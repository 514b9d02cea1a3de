"""The losses of a classification: equal in both frameworks, and those of torch and timm."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.loss import BinaryCrossEntropy

from scenerec.config.optimize import OptimizeConfig
from scenerec.training import tf_classification, torch_classification

import tensorflow as tf  # isort: skip

IMAGES, CLASSES = 6, 5


def settings(**values: Any) -> OptimizeConfig:
    return OptimizeConfig(epochs=1, global_batch_size=1, lr=0.1, **values)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def logits(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(IMAGES, CLASSES)) * 3)


@pytest.fixture
def labels(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.integers(CLASSES, size=IMAGES))


@pytest.fixture
def shares(labels: torch.Tensor) -> torch.Tensor:
    """Those of mixed images: 0.7 of one class, 0.3 of another."""
    ours = F.one_hot(labels, CLASSES).double()
    return 0.7 * ours + 0.3 * torch.roll(ours, 1, 0)


LOSSES: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1},
    {"loss": "bce"},
    {"loss": "bce", "label_smoothing": 0.1},
    {"loss": "bce", "bce_threshold": 0.2, "label_smoothing": 0.1},
]


@pytest.mark.parametrize("values", LOSSES, ids=str)
@pytest.mark.parametrize("targets", ["labels", "shares"])
def test_both_frameworks_have_the_same_losses(
    values: dict[str, Any], targets: str, logits: torch.Tensor, request: pytest.FixtureRequest
) -> None:
    wanted: torch.Tensor = request.getfixturevalue(targets)
    ours = torch_classification.training_losses(logits, wanted, settings(**values))
    theirs = tf_classification.training_losses(
        tf.constant(logits.numpy()), tf.constant(wanted.numpy()), settings(**values)
    )
    assert ours.shape == (IMAGES,)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


@pytest.mark.parametrize("values", LOSSES, ids=str)
def test_labels_are_whole_shares(values: dict[str, Any], logits: torch.Tensor, labels: torch.Tensor) -> None:
    hard, soft = (
        torch_classification.training_losses(logits, targets, settings(**values))
        for targets in (labels, F.one_hot(labels, CLASSES).double())
    )
    torch.testing.assert_close(hard, soft)


@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_binary_cross_entropy_is_timms(
    threshold: float | None, smoothing: float, logits: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor
) -> None:
    config = settings(loss="bce", bce_threshold=threshold, label_smoothing=smoothing)
    timms = BinaryCrossEntropy(smoothing, threshold)
    torch.testing.assert_close(
        torch_classification.training_losses(logits, labels, config).mean(), timms(logits, labels)
    )
    smoothed = shares * (1 - smoothing) + smoothing / CLASSES  # timm smooths before it mixes
    torch.testing.assert_close(
        torch_classification.training_losses(logits, shares, config).mean(), timms(logits, smoothed)
    )


def test_both_classes_of_a_mixed_image_are_wholly_there_above_the_threshold(shares: torch.Tensor) -> None:
    config = settings(loss="bce", bce_threshold=0.2)
    certain = (shares > 0).double() * 60 - 30
    assert torch_classification.training_losses(certain, shares, config).max() < 1e-12
    assert torch_classification.training_losses(-certain, shares, config).min() > 29


def test_a_threshold_is_of_binary_targets_alone() -> None:
    with pytest.raises(ValueError, match="bce_threshold: is of the loss bce"):
        settings(bce_threshold=0.2)
