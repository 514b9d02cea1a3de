"""What packing takes beside JPEG and PNG, and what it refuses by name."""

import base64
import io
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scenerec.data.foreign_formats import foreign_format
from scenerec.data.packing.intake import pack_image
from scenerec.data.picture import DamagedPictureError, Picture, PictureError, TooManyPixelsError, UnknownFormatError

Encode = Callable[..., bytes]

TURNED_HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAFoAAgAAAAACRgABAAAAAAAAAFoAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAA"
    "kAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq"
    "5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xh"
    "cAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEA"
    "AQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAALxtZGF0AAAAVigBrwngITkdpzf8EZKM/Y09V3ORYHNEJDSrXXj3"
    "6djK37R615CWXSmPyj88/cN4vZM8n9L/F/sgkNHcA94I6Tv5hgMqf9qdFPs7P/+inDTADSqu1N6fAAAABkV4aWYAAE1NACoAAAAI"
    "AAIBEgADAAAAAQAGAACIJQAEAAAAAQAAACYAAAAAAAEAAgAFAAAAAwAAADgAAAAAAAAANAAAAAEAAAAfAAAAAQAAAAwAAAAB"
)
"""64 x 48 pixels as stored, a red corner on blue, to be turned by 90 degrees, with the place where it was taken."""


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def saved(image: Image.Image, form: str, **save: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **save)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "mode", "save"),
    [
        ("AVIF", "RGB", {"quality": 90}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "YCbCr", {}),
        ("TIFF", "P", {"compression": "packbits"}),
        ("TIFF", "RGBA", {}),
    ],
)
def test_they_become_jpegs_that_look_the_same(encode: Encode, form: str, mode: str, save: dict[str, Any]) -> None:
    content = encode(form=form, mode=mode, size=(64, 48), **save)
    packed = pack_image(content, quality=95)
    assert (packed.suffix, packed.converted, packed.resized, packed.format) == ("jpg", True, False, form)
    drawn = Image.open(io.BytesIO(encode(form="PNG", size=(64, 48)))).convert(mode).convert("RGB")
    tolerance = 20 if mode == "P" else 8  # JPEG blurs what a palette has dithered
    assert abs(pixels(packed.content) - np.asarray(drawn)).mean() < tolerance
    assert Image.open(io.BytesIO(pack_image(content, short_side=24).content)).size == (32, 24)


def test_of_several_pages_the_first_is_taken(encode: Encode) -> None:
    page, other = Image.open(io.BytesIO(encode(1))), Image.new("RGB", (9, 99))
    for form in ("TIFF", "AVIF"):
        packed = pack_image(saved(page, form, save_all=True, append_images=[other.resize(page.size)] * 3), quality=95)
        assert abs(pixels(packed.content) - pixels(encode(1))).mean() < 5


@pytest.mark.parametrize("form", ["TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_they_are_turned_upright_as_jpegs_are(form: str, orientation: int) -> None:
    picture = Image.new("RGB", (64, 48), "black")
    picture.paste((255, 0, 0), (0, 0, 16, 12))
    exif = Image.Exif()
    exif[0x0112] = orientation
    as_jpeg = pixels(pack_image(saved(picture, "JPEG", exif=exif, quality=95)).content)
    packed = pixels(pack_image(saved(picture, form, exif=exif)).content)
    assert packed.shape == as_jpeg.shape
    assert abs(packed - as_jpeg).mean() < 3


def test_sixteen_bits_of_a_tiff_become_eight() -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (32, 1))
    packed = pack_image(saved(Image.fromarray(ramp), "TIFF"), quality=95)
    assert abs(pixels(packed.content)[:, :, 0] - ramp / 257).max() < 6


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_a_tiff_of_other_numbers_is_refused(mode: str) -> None:
    with pytest.raises(
        UnknownFormatError, match="a TIFF of floats, 32-bit numbers, Lab or a 16-bit negative: save it as"
    ):
        pack_image(saved(Image.new(mode, (20, 20)), "TIFF"))


def test_a_16_bit_negative_is_refused() -> None:
    image = Image.fromarray(np.zeros((8, 8), np.uint16))
    with pytest.raises(UnknownFormatError, match="16-bit negative"):
        pack_image(saved(image, "TIFF", tiffinfo={262: 0}))


def with_tag(content: bytes, tag: int, value: int, becomes: int | None = None) -> bytes:
    """The little-endian TIFF with another number (and tag) in an entry of its first directory (TIFF 6.0, section 2)."""
    start = int.from_bytes(content[4:8], "little") + 2
    entries = range(start, start + 12 * int.from_bytes(content[start - 2 : start], "little"), 12)
    at = next(at for at in entries if int.from_bytes(content[at : at + 2], "little") == tag)
    return content[:at] + struct.pack("<HHII", becomes or tag, 4, 1, value) + content[at + 12 :]


def test_bombs_are_refused_by_their_header() -> None:
    wide = saved(Image.new("1", (40_000, 2)), "TIFF", compression="group4")
    with pytest.raises(TooManyPixelsError, match="at most 50 million are taken"):
        pack_image(with_tag(wide, 257, 40_000))
    small = saved(Image.new("RGB", (32, 32)), "TIFF", compression="tiff_lzw")
    with pytest.raises(DamagedPictureError, match="tiles are larger than pictures may be"):
        pack_image(with_tag(with_tag(small, 278, 16_000, becomes=322), 284, 16_000, becomes=323))


@pytest.mark.parametrize("form", ["TIFF", "AVIF"])
def test_damaged_files_are_refused_and_end_nothing(encode: Encode, form: str) -> None:
    content = encode(form=form, size=(64, 48))
    with pytest.raises(DamagedPictureError, match="cannot be decoded: its header is damaged"):
        pack_image(content[:16])
    draw = random.Random(0)
    refused = 0
    for _ in range(300):
        odd = bytearray(content)
        for _ in range(draw.choice((1, 2, 8))):
            odd[draw.choice((draw.randrange(len(odd)), draw.randrange(120), -1 - draw.randrange(120)))] = (
                draw.randrange(256)
            )
        try:
            pack_image(bytes(odd))
        except PictureError:
            refused += 1
    assert refused > 20


def test_heic_is_taken_where_its_extra_is_installed() -> None:
    packed = pack_image(TURNED_HEIC)
    assert (packed.suffix, packed.converted, packed.format) == ("jpg", True, "HEIC")
    image = Image.open(io.BytesIO(packed.content))
    assert (image.size, dict(image.getexif())) == ((48, 64), {})
    assert pixels(packed.content)[2, 45][0] > 200 > 100 > pixels(packed.content)[2, 2][0]
    with pytest.raises(DamagedPictureError, match="cannot be decoded"):
        pack_image(TURNED_HEIC[:-100])
    with pytest.raises(DamagedPictureError, match="its header is damaged"):
        pack_image(TURNED_HEIC[:60])


def test_heic_is_refused_by_name_where_it_is_not() -> None:
    script = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from scenerec.data.packing.intake import pack_image\n"
        "pack_image(sys.stdin.buffer.read())"
    )
    done = subprocess.run([sys.executable, "-c", script], input=TURNED_HEIC, capture_output=True, check=False)
    assert b"HEIC is not read: pip install 'scenerec[heic]', or convert it to JPEG or PNG" in done.stderr


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"  <svg>", "SVG or HTML"),
    ],
)
def test_other_formats_are_refused_by_name(content: bytes, name: str) -> None:
    assert foreign_format(content) == name
    with pytest.raises(UnknownFormatError, match=f"{name} is not read: convert it to JPEG or PNG"):
        pack_image(content)
    assert foreign_format(b"something else") is None


def test_only_packing_takes_them(encode: Encode) -> None:
    for content in (encode(form="TIFF"), encode(form="AVIF"), TURNED_HEIC):
        with pytest.raises(UnknownFormatError, match="not a JPEG, PNG, WebP, GIF or BMP image"):
            Picture(content)
