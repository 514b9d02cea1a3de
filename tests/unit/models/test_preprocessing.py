"""What weights expect of the pixels: the arithmetic, and how it is read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.errors import ModelError
from scenerec.models.preprocessing import IMAGENET, IMAGENET_MEAN, IMAGENET_STD, WeightPreprocessing

shares = st.floats(0.05, 1)
preprocessings = st.builds(
    WeightPreprocessing,
    mean=st.tuples(shares, shares, shares),
    std=st.tuples(shares, shares, shares),
    interpolation=st.sampled_from(("bilinear", "bicubic")),
    eval_crop_ratio=shares,
)


@given(preprocessings, preprocessings, st.integers(0, 255))
def test_pixels_of_one_normalisation_become_those_of_another(
    ours: WeightPreprocessing, theirs: WeightPreprocessing, level: int
) -> None:
    normalised = (level - np.array(theirs.mean_levels)) / theirs.std_levels
    terms = ours.renormalization(theirs)
    factor, addend = terms or ((1, 1, 1), (0, 0, 0))
    np.testing.assert_allclose(normalised * factor + addend, (level / 255 - np.array(ours.mean)) / ours.std, atol=1e-9)
    assert (terms is None) == ((ours.mean, ours.std) == (theirs.mean, theirs.std))


def test_imagenets_levels_are_the_bits_that_they_always_were() -> None:
    assert IMAGENET.mean_levels == tuple(255 * np.array(IMAGENET_MEAN))
    assert IMAGENET.darkest == tuple(-(255 * np.array(IMAGENET_MEAN)) / (255 * np.array(IMAGENET_STD)))
    assert IMAGENET.brightest == tuple((255 - 255 * np.array(IMAGENET_MEAN)) / (255 * np.array(IMAGENET_STD)))


@given(preprocessings)
def test_it_comes_back_from_a_config_and_from_a_header(preprocessing: WeightPreprocessing) -> None:
    data = {"train": "/train", "image_size": 64, **preprocessing.model_dump(mode="json")}
    assert WeightPreprocessing.of_data(data) == preprocessing
    assert WeightPreprocessing.model_validate_json(preprocessing.metadata["preprocessing"]) == preprocessing


def test_what_an_older_config_does_not_say_is_imagenets() -> None:
    assert WeightPreprocessing.of_data({"image_size": 64, "eval_crop_ratio": 0.9}) == IMAGENET.changed(
        eval_crop_ratio=0.9
    )
    with pytest.raises(ModelError, match=r"^data: interpolation: must be bilinear or bicubic, not 'nearest'"):
        WeightPreprocessing.of_data({"interpolation": "nearest"})


def test_it_is_told_in_words() -> None:
    assert IMAGENET.words == "ImageNet's mean and deviation; bilinear, crop ratio 0.875"
    other = IMAGENET.changed(mean=(0.5, 0.5, 0.5), interpolation="bicubic", eval_crop_ratio=1.0)
    assert other.words == "mean 0.5 0.5 0.5, deviation 0.229 0.224 0.225; bicubic, crop ratio 1"
