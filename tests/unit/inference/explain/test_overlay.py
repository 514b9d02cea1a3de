"""Heat maps as pictures."""

import io

import numpy as np
from PIL import Image

from scenerec.inference.explain.overlay import blend, color_table, render


def ramp(size: int) -> np.ndarray:
    """float32 [size, size], from 0 at the left to 1 at the right."""
    return np.tile(np.linspace(0, 1, size, dtype=np.float32), (size, 1))


def test_a_rendered_map_is_a_png_whose_cold_places_show_the_image() -> None:
    picture = Image.open(io.BytesIO(render(ramp(64))))
    assert (picture.format, picture.size) == ("PNG", (64, 64))
    pixels = np.asarray(picture.convert("RGBA")).astype(int)
    assert (pixels[:, 0, 3] == 0).all()
    assert (np.diff(pixels[..., 3], axis=1) >= 0).all()
    assert 150 < pixels[0, -1, 3] < 255, "the image is seen through the hottest place too"


def test_hotter_is_lighter() -> None:
    colors = color_table()[:, :3] / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) > 0).all()
    assert luminance[0] < 0.06 and luminance[-1] > 0.7


def test_blending_looks_as_a_page_that_lays_the_picture_over_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    layers = [Image.fromarray(image), Image.open(io.BytesIO(render(ramp(32))))]
    page = Image.alpha_composite(*(layer.convert("RGBA") for layer in layers)).convert("RGB")
    blended = blend(image, ramp(32))
    assert blended.dtype == np.uint8
    np.testing.assert_allclose(blended.astype(int), np.asarray(page).astype(int), atol=1)
    np.testing.assert_array_equal(blended[:, 0], image[:, 0])


def test_what_lies_beyond_the_scale_is_its_end() -> None:
    assert render(np.full((2, 2), 1.5, np.float32)) == render(np.ones((2, 2), np.float32))
    assert render(np.full((2, 2), -1, np.float32)) == render(np.zeros((2, 2), np.float32))
