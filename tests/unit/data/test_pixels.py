"""What the network sees of a training image, against Pillow's resize and torchvision's RandomResizedCrop."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from scenerec.config.train import AugmentConfig
from scenerec.data.augment import View, training_views
from scenerec.data.picture import Picture
from scenerec.data.torch_pixels import decoding_threads, training_pixels


def photograph(height: int, width: int, kind: str = "JPEG") -> bytes:
    """Detail of all sizes."""
    rng, image = np.random.default_rng(0), np.zeros((height, width, 3))
    for cells in (4, 16, 64):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        image += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), float) / 3
    buffer = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def views(count: int, height: int, width: int) -> list[View]:
    return training_views(AugmentConfig(), 0, 0, np.arange(count), np.full(count, height), np.full(count, width))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("image_size", [100, 224])
def test_pixels_are_pillows_within_one_level(kind: str, image_size: int) -> None:
    content = photograph(180, 240, kind)
    pixels = Picture(content).stored()
    for view in views(30, 180, 240):
        ours = training_pixels(content, view, image_size)
        assert (ours.shape, ours.dtype) == ((image_size, image_size, 3), np.uint8)
        crop = pixels[view.top : view.top + view.height, view.left : view.left + view.width]
        expected = np.asarray(Image.fromarray(crop).resize((image_size, image_size), Image.Resampling.BILINEAR))
        difference = np.abs(ours.astype(int) - (expected[:, ::-1] if view.flip else expected))
        assert difference.max() <= 1
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


def test_pixels_do_not_depend_on_threads() -> None:
    content = photograph(180, 240)
    some = views(20, 180, 240)
    here = [training_pixels(content, view, 224) for view in some]
    before = torch.get_num_threads()
    with decoding_threads(4) as threads:
        there = list(threads.map(lambda view: training_pixels(content, view, 224), some))
    assert all((one == other).all() for one, other in zip(here, there, strict=True))
    assert torch.get_num_threads() == before  # of those that compute
