"""The gate: what it lets through, and what it finds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scenerec.errors import BundleError, ConfigError
from scenerec.export.source import TorchNetwork
from scenerec.export.verification import compare, gate, source_of
from scenerec.inference.bundles.info import Lineage, Verification
from scenerec.inference.predictors.predictor import Predictor, logits_difference, softmax
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_network import expected_logits, random_images

Logits = Callable[[np.ndarray], np.ndarray]


class Computed(Predictor):
    """A predictor by a function."""

    name, labels, image_size, eval_crop_ratio = "computed", ("red", "green", "blue"), 8, 0.875

    def __init__(self, function: Logits) -> None:
        self.function = function

    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        return self.function(images)


REFERENCE = Computed(expected_logits)


def test_the_same_answers_differ_by_nothing() -> None:
    found = compare(REFERENCE, Computed(expected_logits), random_images(40))
    assert (found.images, found.batch_sizes) == (40, (1, 3, 32))
    assert (found.max_difference, found.top1_agreement) == (0, 1)
    gate("bundle", found, "fp32")


def test_an_offset_is_measured_against_the_largest_logit() -> None:
    images = random_images(10)
    scale = np.abs(expected_logits(images)).max()
    found = compare(REFERENCE, Computed(lambda images: expected_logits(images) + np.float32(0.01 * scale)), images)
    assert found.max_difference == pytest.approx(0.01, rel=1e-3)
    assert found.top1_agreement == 1


@pytest.mark.parametrize("broken_batch", [1, 3, 32])
def test_a_model_that_is_wrong_at_one_batch_size_is_found(broken_batch: int) -> None:
    def logits(images: np.ndarray) -> np.ndarray:
        right = expected_logits(images)
        return right[:, ::-1] if len(images) == broken_batch else right

    found = compare(REFERENCE, Computed(logits), random_images(64))
    assert found.top1_agreement < 1
    with pytest.raises(BundleError, match="bundle: answers otherwise than the network it was made from"):
        gate("bundle", found, "fp32")


def test_probabilities_are_compared_where_the_reference_gives_those() -> None:
    probable = Computed(lambda images: softmax(expected_logits(images), 1.0))
    shifted = Computed(lambda images: expected_logits(images) + 7)  # which softmax does not see
    assert compare(probable, shifted, random_images(9), probabilities=True).max_difference < 1e-6
    assert compare(probable, shifted, random_images(9)).max_difference > 1


@pytest.mark.parametrize("answer", [np.full((2, 3), np.nan), np.full((2, 3), np.inf), np.zeros((2, 4))])
def test_what_is_no_number_or_of_another_shape_is_infinitely_far(answer: np.ndarray) -> None:
    assert logits_difference(np.zeros((2, 3)), answer) == float("inf")


@given(logits=arrays(np.float64, (4, 3), elements=st.floats(-1e3, 1e3)), scale=st.floats(1e-3, 1e3))
def test_the_difference_has_no_unit(logits: np.ndarray, scale: float) -> None:
    other = logits[::-1]
    assert logits_difference(logits, logits) == 0
    if np.abs(logits).max() > 1e-6:
        assert logits_difference(scale * logits, scale * other) == pytest.approx(logits_difference(logits, other))


@pytest.mark.parametrize(
    ("precision", "largest", "agreement", "passes"),
    [
        ("fp32", 9e-5, 0.95, True),
        ("fp32", 2e-4, 1.0, False),
        ("fp16", 1e-2, 0.99, True),
        ("fp16", 3e-2, 1.0, False),
        ("fp16", 1e-3, 0.97, False),
        ("int8", 0.5, 0.95, True),
        ("int8", 0.5, 0.5, False),
    ],
)
def test_each_precision_has_its_tolerance(precision: str, largest: float, agreement: float, passes: bool) -> None:
    found = Verification(images=64, batch_sizes=(1,), max_difference=largest, top1_agreement=agreement)
    if passes:
        gate("bundle", found, precision)
        return
    with pytest.raises(BundleError, match=f"{largest:.1e}.*{precision}.*64 images") as raised:
        gate("bundle", found, precision)
    assert raised.value.exit_code == 8


def test_a_bundle_that_was_exported_from_code_is_not_imported_again(tmp_path: Path) -> None:
    lineage = Lineage(
        framework=None, arch=None, source="os:getcwd", route="torch", scenerec="0", exported_at="2026-01-01T00:00:00Z"
    )
    bundle = make_tiny_bundle(tmp_path / "bundle", lineage=lineage)
    with pytest.raises(ConfigError, match=r"exported from code, .*: --torch os:getcwd \(or .* --against\)"):
        source_of(bundle)
    assert source_of(bundle, import_path="os:getcwd").network == TorchNetwork("os:getcwd")
