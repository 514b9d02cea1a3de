"""Random erasing: torchvision's rectangles, filled with what is nothing after normalisation, or with noise."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from scenerec.config.augment import AugmentConfig
from scenerec.data.augment import View, training_views
from scenerec.data.erasing import Erased
from scenerec.data.torch_pixels import training_pixels
from scenerec.models.preprocessing import IMAGENET
from tests.unit.data.test_pixels import photograph

MEAN_LEVELS, STD_LEVELS = np.array(IMAGENET.mean_levels), np.array(IMAGENET.std_levels)
PLAIN = View(0, 0, 64, 64, False, 1, 1, 1, 0)


def erased(count: int, **augment: object) -> list[Erased | None]:
    config = AugmentConfig.model_validate(augment)
    drawn = training_views(config, 0, 0, np.arange(count), np.full(count, 64), np.full(count, 64))
    return [view.erased for view in drawn]


def test_rectangles_have_the_distribution_of_torchvisions() -> None:
    torch.manual_seed(0)
    policy, image = v2.RandomErasing(p=1.0), torch.zeros(3, 224, 224)
    params = [policy.make_params([image]) for _ in range(3000)]
    expected = np.array([(p["i"], p["j"], p["h"], p["w"]) for p in params], float)
    found = np.array([each.box(224) for each in erased(3000, erase=1.0) if each], float)
    assert len(found) == 3000
    np.testing.assert_allclose(found.mean(0), expected.mean(0), rtol=0.05)
    for share in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.quantile(found, share, 0), np.quantile(expected, share, 0), rtol=0.12, atol=3)


@pytest.mark.parametrize("side", [16, 17, 224])
def test_rectangles_lie_inside_the_image_at_any_size(side: int) -> None:
    for each in erased(500, erase=1.0, erase_scale=(0.1, 1.0), erase_ratio=(0.1, 10.0)):
        if each:
            top, left, height, width = each.box(side)
            assert 0 <= top <= top + height <= side and 0 <= left <= left + width <= side


def test_a_share_of_the_images_is_erased_by_the_same_rectangles() -> None:
    all_of_them, some = erased(2000, erase=1.0), erased(2000, erase=0.25)
    assert np.mean([each is not None for each in some]) == pytest.approx(0.25, abs=0.03)
    assert all(each in (None, full) for each, full in zip(some, all_of_them, strict=True))
    assert erased(3) == [None] * 3


def test_what_is_erased_is_zero_after_normalisation_within_one_level() -> None:
    content, rectangle = photograph(64, 64, "PNG"), Erased(0.3, 0.9, 0.4, 0.25, None)
    plain = training_pixels(content, PLAIN, 64)
    found = training_pixels(content, PLAIN._replace(erased=rectangle), 64)
    levels = torch.from_numpy(plain).permute(2, 0, 1)
    normalised = F.normalize(levels.float(), MEAN_LEVELS.tolist(), STD_LEVELS.tolist())
    expected = F.erase(normalised, *rectangle.box(64), torch.zeros(3, 1, 1)).permute(1, 2, 0).numpy()
    assert np.abs((found - MEAN_LEVELS) - expected * STD_LEVELS).max() < 0.51
    assert (found != plain).any(axis=2).sum() > 300


def test_noise_is_normal_after_normalisation_and_drawn_for_each_image() -> None:
    content = photograph(64, 64, "PNG")

    def noisy(noise: int) -> np.ndarray:
        return training_pixels(content, PLAIN._replace(erased=Erased(0, 0, 1, 1, noise)), 64)

    found = (noisy(5) - MEAN_LEVELS) / STD_LEVELS
    inside = np.abs(found) < 1.5  # of which nothing is clipped to black and white
    assert inside.mean() == pytest.approx(0.866, abs=0.01)
    assert np.abs(found[inside].mean()) < 0.02
    assert found[inside].std() == pytest.approx(0.7426, abs=0.02)  # of a normal number between -1.5 and 1.5
    assert abs(np.corrcoef(found.reshape(-1, 3).T) - np.eye(3)).max() < 0.06
    assert (noisy(5) == noisy(5)).all() and (noisy(6) != noisy(5)).mean() > 0.9
    drawn = [each for each in erased(50, erase=1.0, erase_mode="pixel") if each]
    assert len({each.noise for each in drawn}) == 50
