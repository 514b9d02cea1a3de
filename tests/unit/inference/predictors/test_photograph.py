import io
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from scenerec.data.augment import center_crop
from scenerec.data.jpeg_header import MAX_SCANS
from scenerec.data.packed_image import evaluation_pixels
from scenerec.data.picture import (
    ORIENTATION_TAG,
    DamagedPictureError,
    Picture,
    PictureError,
    TooManyPixelsError,
    UnknownFormatError,
    resize_and_crop,
)
from scenerec.inference.predictors.photograph import Preparer

PREPARE = Preparer(image_size=64, eval_crop_ratio=0.875)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Smooth and colourful, 180 x 120."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)).resize(
        (180, 120), Image.Resampling.BICUBIC
    )


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def comment(text: bytes) -> bytes:
    """A segment of a JPEG that is passed over."""
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text


def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return np.abs(ours.astype(int) - theirs.astype(int))


@pytest.mark.parametrize("image_size", [32, 64, 100])
def test_the_pixels_are_those_of_evaluation(scenes_folder: Path, picture: Image.Image, image_size: int) -> None:
    prepare = Preparer(image_size, PREPARE.eval_crop_ratio)
    large = encode(picture.resize((1800, 1200), Image.Resampling.BICUBIC), "JPEG", quality=95)
    for content in [large, *(path.read_bytes() for path in sorted(scenes_folder.glob("val/*/*"))[:12])]:
        width, height = Image.open(io.BytesIO(content)).size
        crop = center_crop(height, width, image_size, prepare.eval_crop_ratio)
        assert (prepare(content) == evaluation_pixels(content, crop, image_size)).all()


def test_a_large_jpeg_is_decoded_at_reduced_size_and_stays_close(picture: Image.Image) -> None:
    content = encode(picture.resize((1800, 1200), Image.Resampling.BICUBIC), "JPEG", quality=95)
    crop = center_crop(1200, 1800, 64, PREPARE.eval_crop_ratio)
    difference = apart(PREPARE(content), resize_and_crop(Picture(content).stored(), crop, 64))
    assert 0 < difference.mean() < 1
    assert difference.max() <= 4


@pytest.mark.parametrize(
    ("mode", "kind", "options", "allowed"),
    [
        ("RGB", "WEBP", {"lossless": True}, 0),
        ("RGB", "JPEG", {"quality": 98, "progressive": True, "subsampling": 0}, 6),
        ("CMYK", "JPEG", {"quality": 98}, 6),
        ("RGBA", "PNG", {}, 0),
    ],
)
def test_every_kind_of_file_gives_the_same_picture(
    picture: Image.Image, mode: str, kind: str, options: dict[str, object], allowed: int
) -> None:
    expected = PREPARE(encode(picture, "PNG"))
    assert apart(PREPARE(encode(picture.convert(mode), kind, **options)), expected).max() <= allowed


def test_greys_of_8_and_16_bits_are_the_same_picture(picture: Image.Image) -> None:
    grey = picture.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    expected = PREPARE(encode(grey.convert("RGB"), "PNG"))
    assert apart(PREPARE(encode(deep, "PNG")), expected).max() == 0
    assert apart(PREPARE(encode(grey, "JPEG", quality=98)), expected).max() <= 4


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    assert PREPARE(encode(clear, "PNG")).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(picture: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    content = encode(picture, "JPEG", quality=98, exif=exif.tobytes())
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert apart(PREPARE(content), PREPARE(encode(upright, "PNG"))).max() <= 4


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (5, 7)])
def test_a_picture_of_any_size_is_prepared(size: tuple[int, int]) -> None:
    for kind in ("JPEG", "PNG"):
        prepared = PREPARE(encode(Image.new("RGB", size, (10, 200, 30)), kind))
        assert prepared.shape == (64, 64, 3)
        assert apart(prepared, np.array([10, 200, 30])).max() <= 2


@pytest.mark.parametrize("size", [(8000, 7000), (20_000, 20_000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_by_the_header(size: tuple[int, int], kind: str) -> None:
    content = bytearray(encode(Image.new("L", (16, 16)), kind))
    width, height = size
    if kind == "PNG":
        content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    else:
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    if kind == "PNG":  # its header carries a checksum
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    with pytest.raises(TooManyPixelsError, match="at most 50 million"):
        PREPARE(bytes(content))


def test_other_files_are_not_images(picture: Image.Image) -> None:
    for content in (b"", b"GET / HTTP/1.1", b"BMW", encode(picture, "TIFF"), encode(picture, "AVIF")):
        with pytest.raises(UnknownFormatError, match="not a JPEG, PNG, WebP, GIF or BMP image"):
            PREPARE(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_named(picture: Image.Image, kind: str) -> None:
    content = encode(picture, kind)
    with pytest.raises(DamagedPictureError, match="cannot be decoded"):
        PREPARE(content[: len(content) // 2])


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    content = encode(Image.new("RGB", (700, 700)), "JPEG", progressive=True)  # each scan of it takes 1 ms
    last = content[content.rindex(b"\xff\xda") : -2]
    for scans in (100_000, MAX_SCANS):
        with pytest.raises(DamagedPictureError, match="more than 32 scans"):
            PREPARE(content[:-2] + last * scans + content[-2:])


def test_a_jpeg_whose_first_scan_is_whole_has_no_further_one(picture: Image.Image) -> None:
    content = encode(picture, "JPEG")
    scan = content[content.rindex(b"\xff\xda") : -2]
    for scans in (1, MAX_SCANS):
        with pytest.raises(DamagedPictureError, match="cannot be decoded"):
            PREPARE(content[:-2] + scan * scans + content[-2:])


def test_a_header_that_libjpeg_passes_over_hides_no_scans() -> None:
    plain = encode(Image.new("RGB", (700, 700)), "JPEG", progressive=True)
    scan = plain.index(b"\xff\xda")
    content = plain[:-2] + plain[plain.rindex(b"\xff\xda") : -2] * 1000 + plain[-2:]
    of_one_scan = bytes.fromhex("ffc0 0011 08 02bc 02bc 03") + bytes(9) + bytes.fromhex("ffda 000c 03")
    first = comment(bytes(60_000))
    gap = bytes(0xFFFE - len(first) - 4)  # the comment's marker would be the length of the restart, which has none
    behind_restart = content[:2] + b"\xff\xd0" + first + comment(gap + of_one_scan) + content[2:]
    baseline = content.replace(b"\xff\xc2", b"\xff\xc0", 1)
    behind_bytes = baseline[:scan] + b"\0\xda\0\x0c\3" + baseline[scan:]
    for hiding in (behind_restart, behind_bytes):
        with pytest.raises(DamagedPictureError, match="more than 32 scans"):
            PREPARE(hiding)


def test_only_a_jpegs_own_scans_count(picture: Image.Image) -> None:
    plain = encode(picture, "JPEG", quality=95, progressive=True)
    scans = b"\xff\xda" * 1000
    expected = PREPARE(plain)
    for content in (plain[:2] + comment(scans) + plain[2:], plain + scans):
        assert apart(PREPARE(content), expected).max() == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_bytes_give_an_image_or_an_error_of_ours(picture: Image.Image, kind: str) -> None:
    content, draw = encode(picture, kind), random.Random(0)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            assert PREPARE(bytes(damaged)).shape == (64, 64, 3)
        except PictureError as error:
            assert "\n" not in str(error)
