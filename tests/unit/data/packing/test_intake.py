import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from scenerec.data.packing.intake import pack_image
from scenerec.data.picture import DamagedPictureError, UnknownFormatError

Encode = Callable[..., bytes]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def encoded(image: Image.Image, form: str, **save: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **save)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "mode", "suffix"),
    [("JPEG", "RGB", "jpg"), ("JPEG", "L", "jpg"), ("PNG", "RGB", "png"), ("PNG", "L", "png")],
)
def test_plain_images_stay_byte_for_byte(encode: Encode, form: str, mode: str, suffix: str) -> None:
    content = encode(form=form, mode=mode)
    assert pack_image(content) == (content, suffix, False, False, False, form)


@pytest.mark.parametrize(
    ("form", "mode", "tolerance"),  # JPEG blurs what a palette has dithered
    [("JPEG", "CMYK", 8), ("PNG", "P", 20), ("PNG", "RGBA", 8), ("PNG", "LA", 8), ("PNG", "1", 25)],
)
def test_other_pixel_formats_become_rgb_jpegs_that_look_the_same(
    encode: Encode, form: str, mode: str, tolerance: int
) -> None:
    content = encode(form=form, mode=mode, size=(64, 48))
    packed = pack_image(content, quality=95)
    assert (packed.suffix, packed.converted, packed.resized) == ("jpg", True, False)
    image = Image.open(io.BytesIO(packed.content))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))
    assert abs(pixels(packed.content) - pixels(content)).mean() < tolerance


def test_sixteen_bits_become_eight() -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (32, 1))
    packed = pack_image(encoded(Image.fromarray(ramp), "PNG"), quality=95)
    assert packed.converted
    assert abs(pixels(packed.content)[:, :, 0] - ramp / 257).max() < 6


def test_transparent_pixels_become_white() -> None:
    packed = pack_image(encoded(Image.new("RGBA", (16, 16), (255, 0, 0, 0)), "PNG"))
    assert packed.converted
    assert pixels(packed.content).min() > 250
    keyed = pack_image(encoded(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG", transparency=(255, 0, 0)))
    assert keyed.converted
    assert pixels(keyed.content).min() > 250


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied_and_gone(orientation: int) -> None:
    picture = Image.new("RGB", (64, 48), "black")
    picture.paste((255, 0, 0), (0, 0, 16, 12))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture, "JPEG", exif=exif, quality=95)
    packed = pack_image(content, quality=95)
    image = Image.open(io.BytesIO(packed.content))
    assert packed.converted
    assert 0x0112 not in image.getexif()
    assert image.size == ((64, 48) if orientation < 5 else (48, 64))
    # Where the stored upper left corner belongs: EXIF 2.32, table 6.
    right, bottom = orientation in (2, 3, 7, 6), orientation in (3, 4, 7, 8)
    red = pixels(packed.content)[-1 if bottom else 0, -1 if right else 0]
    assert red[0] > 200
    assert red[1] < 60


def test_orientation_one_and_damaged_exif_leave_the_pixels_alone(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    for odd in (exif, b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff"):
        content = encode(exif=odd)
        assert pack_image(content) == (encode(), "jpg", False, False, True, "JPEG")
        assert pack_image(content, keep_metadata=True) == (content, "jpg", False, False, False, "JPEG")


@pytest.mark.parametrize(
    ("size", "expected"), [((300, 200), (96, 64)), ((200, 301), (64, 96)), ((1000, 65), (985, 64))]
)
def test_large_images_are_shrunk_to_the_short_side(
    encode: Encode, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    for form in ("JPEG", "PNG"):
        content = encode(form=form, size=size)
        packed = pack_image(content, short_side=64, quality=95)
        assert (packed.suffix, packed.converted, packed.resized) == ("jpg", False, True)
        assert Image.open(io.BytesIO(packed.content)).size == expected
        smaller = Image.open(io.BytesIO(content)).convert("RGB").resize(expected, Image.Resampling.LANCZOS)
        assert abs(pixels(packed.content) - np.asarray(smaller)).mean() < 3


def test_shrinking_and_turning_together() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    packed = pack_image(encoded(Image.new("RGB", (400, 200)), "JPEG", exif=exif), short_side=100)
    assert (packed.converted, packed.resized) == (True, True)
    assert Image.open(io.BytesIO(packed.content)).size == (100, 200)


def test_small_images_are_never_enlarged(encode: Encode) -> None:
    content = encode(size=(64, 300))
    assert pack_image(content, short_side=64).content == content


@pytest.mark.parametrize("form", ["GIF", "BMP"])
def test_lossless_formats_become_pngs_of_the_same_pixels(encode: Encode, form: str) -> None:
    content = encode(form=form)
    packed = pack_image(content)
    assert (packed.suffix, packed.converted, packed.resized) == ("png", True, False)
    assert Image.open(io.BytesIO(packed.content)).format == "PNG"
    assert (pixels(packed.content) == pixels(content)).all()


def test_a_webp_becomes_a_jpeg(encode: Encode) -> None:
    content = encode(form="WEBP", size=(64, 48))
    packed = pack_image(content, quality=95)
    assert (packed.suffix, packed.converted, packed.resized) == ("jpg", True, False)
    assert abs(pixels(packed.content) - pixels(content)).mean() < 3


@pytest.mark.parametrize("form", ["GIF", "BMP", "WEBP"])
def test_what_is_shrunk_becomes_a_jpeg(encode: Encode, form: str) -> None:
    packed = pack_image(encode(form=form, size=(300, 200)), short_side=64)
    assert (packed.suffix, packed.converted, packed.resized) == ("jpg", True, True)
    assert Image.open(io.BytesIO(packed.content)).size == (96, 64)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(UnknownFormatError, match="SVG or HTML is not read: convert it to JPEG or PNG"):
        pack_image(b"<html>404</html>")


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_images_are_refused(encode: Encode, form: str, kept: float) -> None:
    content = encode(form=form, size=(200, 150))
    with pytest.raises(DamagedPictureError, match="cannot be decoded"):
        pack_image(content[: int(len(content) * kept)])
