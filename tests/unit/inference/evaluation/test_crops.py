import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scenerec.data.augment import center_crop
from scenerec.inference.evaluation.crops import average_crops, evaluation_crops, log_softmax, with_mirrors
from scenerec.inference.predictors.predictor import softmax

LOGITS = arrays.arrays(np.float32, (6, 5), elements=st.floats(-80, 80, width=32))


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 256), st.floats(0.5, 1))
def test_crops_lie_within_the_resized_image(height: int, width: int, image_size: int, ratio: float) -> None:
    *corners, center = evaluation_crops(height, width, image_size, ratio, 10)
    assert evaluation_crops(height, width, image_size, ratio, 1) == [center]
    assert center == center_crop(height, width, image_size, ratio)
    assert len(corners) == 4
    for crop in corners:
        assert (crop.height, crop.width) == (center.height, center.width)
        assert crop.top in (0, center.height - image_size) and crop.left in (0, center.width - image_size)
        assert crop.top >= 0 and crop.left >= 0
    spread = (center.height > image_size) + (center.width > image_size)
    assert len(set(corners)) == 2**spread


def test_mirrors_follow_the_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    doubled = with_mirrors(images)
    assert np.array_equal(doubled[:5], images)
    assert np.array_equal(doubled[5:, :, ::-1], images)


@given(LOGITS)
def test_the_average_is_that_of_the_probabilities(logits: np.ndarray) -> None:
    averaged = average_crops(logits, 3)
    assert averaged.dtype == np.float32
    expected = softmax(logits, 1.0).reshape(2, 3, 5).mean(axis=1)
    assert softmax(averaged, 1.0) == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(averaged).all()


@given(LOGITS)
def test_one_crop_leaves_logits_as_they_are(logits: np.ndarray) -> None:
    assert average_crops(logits, 1) is logits


@given(LOGITS)
def test_log_softmax_is_the_logarithm_of_a_distribution(logits: np.ndarray) -> None:
    assert np.exp(log_softmax(logits)).sum(axis=1) == pytest.approx(np.ones(6))
