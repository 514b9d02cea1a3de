"""Temperature scaling: the fitted temperature is the best one, whatever the logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.evaluation.temperature import HIGHEST, LOWEST, fit_temperature, mean_loss


def drawn(seed: int, images: int = 2000, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn by their probabilities: at temperature 1 these are right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (images, classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # Gumbel's way to draw from a softmax
    return logits.astype(np.float32), labels


@pytest.mark.parametrize("factor", [0.25, 1.0, 2.0, 7.0])
def test_the_factor_of_scaled_logits_is_found_again(factor: float) -> None:
    logits, labels = drawn(seed=0)
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(1, abs=0.05)
    assert fit_temperature(logits * np.float32(factor), labels) == pytest.approx(factor * fitted, rel=1e-4)


@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 30),
    classes=st.integers(2, 5),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 30.0]),
)
def test_no_temperature_is_better_on_the_fitting_set(seed: int, images: int, classes: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (images, classes)).astype(np.float32)
    labels = rng.integers(classes, size=images)
    fitted = fit_temperature(logits, labels)
    found = mean_loss(logits, labels, fitted)
    assert LOWEST * (1 - 1e-6) <= fitted <= HIGHEST * (1 + 1e-6)
    for other in (LOWEST, 0.3, 0.9, 1.0, 1.1, 3.0, HIGHEST):
        assert found <= mean_loss(logits, labels, other) * (1 + 1e-6) + 1e-9  # near a bound it is met to 1e-7


def test_a_model_that_is_never_wrong_gets_no_temperature_of_zero() -> None:
    logits = 3 * np.eye(4, dtype=np.float32)
    assert fit_temperature(logits, np.arange(4)) == pytest.approx(LOWEST, rel=1e-3)
