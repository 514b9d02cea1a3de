"""What the network sees of a training image, against Pillow's resize and torchvision's RandomResizedCrop."""

import io
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from scenerec.config.augment import AugmentConfig
from scenerec.data.augment import View, training_views
from scenerec.data.erasing import Erased
from scenerec.data.operations import Kind, Operation
from scenerec.data.picture import Picture
from scenerec.data.torch_operations import apply_operations
from scenerec.data.torch_pixels import _blur, decoding_threads, pixels_of_views, training_pixels
from scenerec.models.preprocessing import IMAGENET, Interpolation

_SAVE: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "PNG": {"compress_level": 1}}


@cache
def photograph(height: int, width: int, kind: str = "JPEG") -> bytes:
    """Detail of all sizes."""
    buffer = io.BytesIO()
    Image.fromarray(scene(height, width)).save(buffer, kind, **_SAVE[kind])
    return buffer.getvalue()


@cache
def scene(height: int, width: int) -> np.ndarray:
    rng, image = np.random.default_rng(0), np.zeros((height, width, 3))
    for cells in (4, 16, 64):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        image += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), float) / 3
    return image.astype(np.uint8)


def views(count: int, height: int, width: int) -> list[View]:
    return training_views(AugmentConfig(), 0, 0, np.arange(count), np.full(count, height), np.full(count, width))


FILTERS: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("image_size", [100, 224])
def test_pixels_are_pillows_within_a_level_or_two(kind: str, image_size: int, interpolation: Interpolation) -> None:
    content = photograph(180, 240, kind)
    pixels = Picture(content).stored()
    for view in views(30, 180, 240):
        ours = training_pixels(content, view, image_size, preprocessing=IMAGENET.changed(interpolation=interpolation))
        assert (ours.shape, ours.dtype) == ((image_size, image_size, 3), np.uint8)
        crop = pixels[view.top : view.top + view.height, view.left : view.left + view.width]
        expected = np.asarray(Image.fromarray(crop).resize((image_size, image_size), FILTERS[interpolation]))
        difference = np.abs(ours.astype(int) - (expected[:, ::-1] if view.flip else expected))
        assert difference.max() <= (1 if interpolation == "bilinear" else 2)
        assert 10 * np.log10(255**2 / max((difference**2).mean(), 1e-9)) > 55


def test_the_box_is_that_of_torchvisions_crop() -> None:
    content = photograph(180, 240, "PNG")
    image = torch.from_numpy(Picture(content).stored()).permute(2, 0, 1)
    for view in views(10, 180, 240):
        box = (view.top, view.left, view.height, view.width)
        expected = F.resized_crop(image.float(), *box, [64, 64], antialias=True)
        expected = F.horizontal_flip(expected) if view.flip else expected
        ours = training_pixels(content, view, 64)
        assert np.abs(ours - expected.permute(1, 2, 0).numpy()).max() <= 1.2


def test_a_jpeg_of_which_little_is_needed_is_decoded_at_reduced_size_and_stays_close() -> None:
    large, whole = photograph(1200, 1600), photograph(1200, 1600, "PNG")
    for flip in (False, True):
        view = View(100, 50, 1000, 1200, flip, 1, 1, 1, 0)
        ours, exact = (training_pixels(content, view, 64).astype(int) for content in (large, whole))
        assert 0 < np.abs(ours - exact).mean() < 1.5
        assert np.abs(ours - exact).max() <= 8


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(180, 240), (1200, 1600)], ids=["whole", "reduced"])
def test_pixels_are_written_where_they_are_wanted(size: tuple[int, int], flip: bool) -> None:
    content, batch = photograph(*size), np.zeros((3, 64, 64, 3), np.uint8)
    view = View(10, 20, size[0] - 10, size[1] - 20, flip, 1, 1, 1, 0)
    training_pixels(content, view, 64, batch[1])
    assert (batch[1] == training_pixels(content, view, 64)).all()
    assert not batch[[0, 2]].any()


@pytest.mark.parametrize("sigma", [0.2, 1.0, 2.7])
def test_a_blur_is_a_gaussian(sigma: float) -> None:
    """Of a photograph as of a point, with mirrored edges."""
    content, size = photograph(96, 96, "PNG"), 96
    plain = View(0, 0, size, size, False, 1, 1, 1, 0)
    weights = np.exp(-((np.arange(-40, 41) / sigma) ** 2) / 2)
    weights /= weights.sum()
    exact = np.pad(training_pixels(content, plain, size), ((40, 40), (40, 40), (0, 0)), "reflect").astype(float)
    for _ in range(2):
        exact = np.tensordot(weights, [exact[shift : shift + size] for shift in range(len(weights))], 1)
        exact = exact.swapaxes(0, 1)
    blurred = training_pixels(content, plain._replace(blur=sigma / size), size)
    assert np.abs(blurred - exact).max() < 0.51


def test_a_blur_is_the_same_share_of_a_small_and_a_large_picture() -> None:
    content = photograph(256, 256, "PNG")
    view = View(0, 0, 256, 256, False, 1, 1, 1, 0, blur=4 / 256)
    small = training_pixels(content, view, 64).astype(float)
    large = training_pixels(content, view, 256).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - large).mean() < 1


def test_a_flipped_view_is_blurred_as_well_as_flipped() -> None:
    content, view = photograph(80, 80, "PNG"), View(0, 0, 80, 80, False, 1, 1, 1, 0, blur=0.02)
    assert (training_pixels(content, view._replace(flip=True), 80) == training_pixels(content, view, 80)[:, ::-1]).all()


@pytest.mark.parametrize("size", [(180, 240), (1200, 1600)], ids=["whole", "reduced"])
def test_two_views_are_those_of_one_at_a_time(size: tuple[int, int]) -> None:
    """What is decoded once is large enough for both."""
    content, out = photograph(*size), np.zeros((2, 64, 64, 3), np.uint8)
    small, wide = View(10, 20, size[0] // 4, size[1] // 4, True, 1, 1, 1, 0), View(0, 0, *size, False, 1, 1, 1, 0)
    rotated, erased = (Operation(Kind.ROTATE, 9, False, True),), Erased(0.2, 0.2, 0.5, 0.5, 7)
    small = small._replace(operations=rotated, erased=erased)
    pixels_of_views(content, (wide, small), 64, out)
    assert (out[1] == training_pixels(content, small, 64)).all()
    alone = training_pixels(content, wide, 64)
    assert np.abs(out[0].astype(int) - alone).mean() < 1.5
    assert (out[0] == alone).all() == (size == (180, 240))


def test_what_comes_after_the_crop_comes_in_its_order() -> None:
    """Operations upon the flipped image, then the blur, and what is erased is neither turned nor blurred."""
    content, plain = photograph(96, 96, "PNG"), View(0, 0, 96, 96, True, 1, 1, 1, 0)
    whole = plain._replace(
        operations=(Operation(Kind.SHEAR_X, 9, True, False),), blur=0.02, erased=Erased(0.5, 0.1, 0.3, 0.4, None)
    )
    expected = training_pixels(content, plain, 96)
    apply_operations(expected, whole.operations)
    _blur(expected, 0.02 * 96)
    top, left, height, width = whole.erased.box(96) if whole.erased else (0, 0, 0, 0)
    expected[top : top + height, left : left + width] = (124, 116, 104)
    assert (training_pixels(content, whole, 96) == expected).all()


def test_pixels_do_not_depend_on_threads() -> None:
    content = photograph(180, 240)
    some = views(20, 180, 240)
    here = [training_pixels(content, view, 224) for view in some]
    before = torch.get_num_threads()
    with decoding_threads(4) as threads:
        there = list(threads.map(lambda view: training_pixels(content, view, 224), some))
    assert all((one == other).all() for one, other in zip(here, there, strict=True))
    assert torch.get_num_threads() == before  # of those that compute
