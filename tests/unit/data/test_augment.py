"""Views of images: by seed, epoch and position alone, inside the image, with torchvision's distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.train import AugmentConfig
from scenerec.data.augment import center_crop, training_views, uniform_draws

sides = st.integers(1, 2000)


def views(config: AugmentConfig, count: int, height: int = 300, width: int = 400, **key: int) -> list:
    positions = np.arange(count)
    seed, epoch = key.get("seed", 0), key.get("epoch", 0)
    return training_views(config, seed, epoch, positions, np.full(count, height), np.full(count, width))


@given(sides, sides, st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_crops_lie_inside_the_image(height: int, width: int, seed: int, epoch: int) -> None:
    for view in views(AugmentConfig(), 4, height, width, seed=seed, epoch=epoch):
        assert view.height >= 1 and view.width >= 1
        assert 0 <= view.top <= height - view.height
        assert 0 <= view.left <= width - view.width


def test_a_view_depends_on_its_position_only() -> None:
    config = AugmentConfig(color_jitter=0.4)
    together = views(config, 50)
    alone = [training_views(config, 0, 0, np.array([p]), np.array([300]), np.array([400]))[0] for p in range(50)]
    assert together == alone
    assert len(set(together)) == 50
    assert views(config, 50, epoch=1) != together
    assert views(config, 50, seed=1) != together


def test_the_crop_has_the_distribution_of_torchvision() -> None:
    """Area and position of 4000 crops against RandomResizedCrop's own draws: equal means and quantiles."""
    import torch
    from torchvision.transforms import RandomResizedCrop

    ours = np.array([v[:4] for v in views(AugmentConfig(), 4000)], dtype=float)
    torch.manual_seed(0)
    image = torch.empty(3, 300, 400)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], dtype=float
    )
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), rtol=0.06)
    np.testing.assert_allclose(
        np.quantile(ours, [0.25, 0.75], axis=0), np.quantile(theirs, [0.25, 0.75], axis=0), rtol=0.1
    )


def test_half_of_the_images_are_flipped_and_colours_stay_in_range() -> None:
    drawn = views(AugmentConfig(color_jitter=0.4), 4000)
    assert 0.46 < np.mean([view.flip for view in drawn]) < 0.54
    colors = np.array([view[5:] for view in drawn])
    assert colors.min() >= 0.6 and colors.max() <= 1.4
    np.testing.assert_allclose(colors.mean(0), 1.0, atol=0.02)


def test_all_can_be_turned_off() -> None:
    config = AugmentConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=False)
    assert {tuple(view) for view in views(config, 20, 256, 256)} == {(0, 0, 256, 256, False, 1.0, 1.0, 1.0)}


def test_a_narrow_image_gives_its_largest_allowed_crop() -> None:
    view = views(AugmentConfig(crop_scale=(0.9, 1.0)), 1, height=100, width=1000)[0]
    assert (view.height, view.width) == (100, 133)
    assert view.left == (1000 - 133) // 2


def test_draws_are_uniform_and_do_not_repeat() -> None:
    draws = uniform_draws(3, 5, np.arange(5000), 7)
    assert draws.shape == (5000, 7)
    assert draws.min() >= 0 and draws.max() < 1
    assert len(np.unique(draws)) == draws.size
    np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.02)
    assert abs(np.corrcoef(draws.T) - np.eye(7)).max() < 0.06


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(16, 512), st.floats(0.5, 1))
def test_the_centre_crop_lies_inside_the_resized_image(height: int, width: int, size: int, ratio: float) -> None:
    crop = center_crop(height, width, size, ratio)
    assert 0 <= crop.top <= crop.height - size
    assert 0 <= crop.left <= crop.width - size
    assert abs((crop.height - size) / 2 - crop.top) <= 0.5


@pytest.mark.parametrize(
    ("height", "width", "resized"), [(256, 512, (256, 512)), (512, 256, (512, 256)), (100, 100, (256, 256))]
)
def test_evaluation_resizes_the_short_side_to_256_for_224(height: int, width: int, resized: tuple[int, int]) -> None:
    crop = center_crop(height, width, 224, 0.875)
    assert (crop.height, crop.width) == resized
