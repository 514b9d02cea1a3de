"""Colours: one matrix an image is what torchvision's functions do one after the other, but for their clipping."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from scenerec.config.augment import AugmentConfig
from scenerec.data.augment import View, training_views
from scenerec.data.colors import channel_means, color_matrices
from scenerec.data.torch_input import normalize
from scenerec.models.preprocessing import IMAGENET

MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


def drawn(count: int, size: int, low: int = 0, high: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Noise, uint8 [count, size, size, 3], and matrices of all changes at once."""
    pixels = np.random.default_rng(0).integers(low, high, (count, size, size, 3), dtype=np.uint8)
    sides = np.full(count, size)
    views = training_views(AugmentConfig(color_jitter=0.4, hue=0.1), 0, 0, np.arange(count), sides, sides)
    return pixels, color_matrices(views, np.stack([channel_means(image) for image in pixels]))


def view(**colors: Any) -> View:
    return View(0, 0, 1, 1, False, 1, 1, 1, 0)._replace(**colors)


def levels(pixels: np.ndarray, of: View) -> np.ndarray:
    """What becomes of pixels [h, w, 3], in levels."""
    colors = color_matrices([of], channel_means(pixels)[None], solarizes=of.solarize)
    normalised = normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None], colors=torch.from_numpy(colors))
    return (normalised[0].permute(1, 2, 0).numpy() * STD + MEAN) * 255


def test_the_mean_is_exact() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 31, 3), dtype=np.uint8)
    assert np.array_equal(channel_means(pixels), pixels.astype(np.int64).sum(axis=(0, 1)) / (1024 * 31))
    assert np.array_equal(channel_means(np.full((1024, 1024, 3), 255, np.uint8)), [255.0] * 3)
    pair = np.stack([pixels, pixels // 2])
    assert np.array_equal(channel_means(pair), [channel_means(image) for image in pair])


def test_colours_are_torchvisions_where_nothing_is_clipped() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(90, 150, (12, 14, 3), dtype=np.uint8)
    for _ in range(50):
        brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3)
        ours = levels(pixels, view(brightness=brightness, contrast=contrast, saturation=saturation))
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        stepwise = F.adjust_saturation(
            F.adjust_contrast(F.adjust_brightness(image / 255, brightness), contrast), saturation
        )
        assert stepwise.min() > 0 and stepwise.max() < 1
        assert np.abs(ours - stepwise.permute(1, 2, 0).numpy() * 255).max() < 0.1


def test_what_leaves_the_range_is_black_or_white() -> None:
    pixels = np.array([[[0, 128, 255]]], np.uint8)
    brighter = levels(pixels, view(brightness=3))
    assert brighter[0, 0] == pytest.approx([0, 255, 255], abs=1e-3)
    bounds = normalize(torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 1, 2)).numpy()
    assert bounds[0, :, 0, 0] == pytest.approx(IMAGENET.darkest)
    assert bounds[0, :, 0, 1] == pytest.approx(IMAGENET.brightest)


def test_factors_of_one_change_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(levels(pixels, view()), pixels, atol=1e-3)


@pytest.mark.parametrize("hue", [0.0, 0.1, -0.3, 0.5])
def test_a_turn_keeps_grey_and_brightness_and_undoes_itself(hue: float) -> None:
    pixels = np.random.default_rng(0).integers(110, 140, (8, 8, 3), dtype=np.uint8)
    turned = levels(pixels, view(hue=hue))
    grey = np.array((0.299, 0.587, 0.114))
    np.testing.assert_allclose(turned @ grey, pixels @ grey, atol=0.01)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    np.testing.assert_allclose(levels(greys, view(hue=hue)), greys, atol=0.01)
    there, back = (color_matrices([view(hue=h)], np.zeros((1, 3)))[0, :, :3] for h in (hue, -hue))
    scale = 255 * STD[:, None]
    np.testing.assert_allclose((there * scale) @ (back * scale), np.eye(3), atol=1e-5)


def test_a_third_of_the_circle_takes_red_towards_another_colour() -> None:
    red = np.array([[[180, 60, 60]]], np.uint8)
    assert levels(red, view(hue=1 / 3))[0, 0].argmax() != 0
    assert levels(red, view(hue=0.02))[0, 0].argmax() == 0


def test_grey_is_torchvisions_whatever_becomes_of_the_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = F.rgb_to_grayscale(torch.from_numpy(pixels).permute(2, 0, 1) / 255)[0].numpy() * 255
    for colors in ({}, {"saturation": 1.4, "hue": 0.2}):
        grey = levels(pixels, view(gray=True, **colors))
        np.testing.assert_allclose(grey, expected[:, :, None].repeat(3, axis=2), atol=0.1)


def test_solarised_levels_are_torchvisions() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    expected = F.solarize(torch.from_numpy(pixels).permute(2, 0, 1), threshold=128).permute(1, 2, 0)
    np.testing.assert_allclose(levels(pixels, view(solarize=True)), expected, atol=1e-3)


def test_what_is_too_bright_is_white_before_it_is_solarised() -> None:
    bright = np.full((1, 2, 3), 200, np.uint8)
    np.testing.assert_allclose(levels(bright, view(brightness=1.6, solarize=True)), 0, atol=1e-3)


def test_of_several_images_those_are_solarised_that_are_drawn() -> None:
    pixels, views = np.full((3, 4, 4, 3), 200, np.uint8), [view(solarize=solarize) for solarize in (True, False, True)]
    colors = color_matrices(views, np.stack([channel_means(image) for image in pixels]), solarizes=True)
    normalised = normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2), colors=torch.from_numpy(colors))
    found = (normalised.permute(0, 2, 3, 1).numpy() * STD + MEAN) * 255
    np.testing.assert_allclose(found[:, 0, 0, 0], (55, 200, 55), atol=1e-3)
    assert color_matrices([], np.zeros((0, 3)), solarizes=True).shape == (0, 3, 5)
