import io
import random
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from scenerec.data.packing.intake import pack_image
from scenerec.data.packing.metadata import without_metadata
from scenerec.data.picture import Picture, PictureError
from tests.mutated_images import mutate, seeds

SECRET = b"52 deg 31' 12'' N, taken by Ada"


def picture(seed: int, size: tuple[int, int], mode: str) -> Image.Image:
    corners = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR).convert(mode)


def saved(image: Image.Image, form: str, **save: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **save)
    return buffer.getvalue()


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + (2 + len(data)).to_bytes(2, "big") + data


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def gps() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = SECRET.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return exif


JPEG_EXTRAS = [
    segment(0xE1, b"Exif\0\0MM\0*" + SECRET),
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET),
    segment(0xE2, b"ICC_PROFILE\0\1\1" + SECRET),
    segment(0xE2, b"MPF\0" + SECRET),
    segment(0xE0, b"JFXX\0\x10" + SECRET),
    segment(0xED, b"Photoshop 3.0\0" + SECRET),
    segment(0xEE, b"not Adobe's " + SECRET),
    segment(0xFE, SECRET),
    b"\xff" + segment(0xFE, b"\xff\xd8\xff\xda" + SECRET + b"\xff\xd9"),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 999),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    mode=st.sampled_from(["RGB", "L"]),
    save=st.fixed_dictionaries(
        {
            "quality": st.integers(20, 100),
            "progressive": st.booleans(),
            "restart_marker_blocks": st.integers(0, 3),
        }
    ),
    colours=st.sampled_from([{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"keep_rgb": True}]),
    extras=st.lists(st.sampled_from(JPEG_EXTRAS), unique=True),
    tail=st.sampled_from([b"", SECRET, saved(picture(1, (9, 9), "RGB"), "JPEG") + SECRET]),
)
def test_of_a_jpeg_the_pixels_stay_bit_for_bit_and_nothing_else(
    seed: int,
    size: tuple[int, int],
    mode: str,
    save: dict[str, Any],
    colours: dict[str, Any],
    extras: list[bytes],
    tail: bytes,
) -> None:
    bare = saved(picture(seed, size, mode), "JPEG", **save, **(colours if mode == "RGB" else {}))
    content = bare[:2] + b"".join(extras) + bare[2:] + tail
    found = pack_image(content)
    assert (found.content, found.converted, found.stripped) == (bare, False, len(content) > len(bare))
    assert (Picture(found.content).stored() == Picture(content).stored()).all()
    assert pack_image(found.content).stripped is False


def test_what_a_camera_writes_is_gone() -> None:
    content = saved(
        picture(0, (40, 30), "RGB"), "JPEG", exif=gps(), comment=SECRET, icc_profile=SECRET, xmp=SECRET, dpi=(300, 300)
    )
    assert content.count(SECRET) == 4
    found = pack_image(content)
    assert SECRET not in found.content
    assert not Image.open(io.BytesIO(found.content)).getexif()
    assert pack_image(content, keep_metadata=True).content == content


def test_further_pictures_of_a_file_are_gone() -> None:
    first, second = picture(1, (40, 30), "RGB"), picture(2, (40, 30), "RGB")
    content = saved(first, "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    found = pack_image(content)
    image = Image.open(io.BytesIO(found.content))
    assert (image.format, getattr(image, "n_frames", 1), found.stripped) == ("JPEG", 1, True)
    assert (Picture(found.content).stored() == Picture(content).stored()).all()


def test_the_thumbnail_in_a_jfif_header_is_gone() -> None:
    bare = saved(picture(1, (40, 30), "RGB"), "JPEG")
    header = bare[2:20]
    assert header[4:9] == b"JFIF\0"
    thumbnail = segment(0xE0, header[4:16] + b"\x03\x02" + bytes(range(18)))
    assert without_metadata(bare[:2] + thumbnail + bare[20:]) == bare


def test_a_jpeg_without_its_end_keeps_the_rest() -> None:
    bare = saved(picture(1, (40, 30), "RGB"), "JPEG")[:-2]
    assert without_metadata(bare[:2] + segment(0xFE, SECRET) + bare[2:]) == bare


@pytest.mark.parametrize("odd", [b"\xff\xd0", b"\xff\xe1\0\1", b"\0", b"\xff\xe1\xff\xff"])
def test_segments_that_are_not_understood_are_no_reason_to_keep_them(odd: bytes) -> None:
    content = saved(picture(1, (8, 8), "RGB"), "JPEG")
    assert without_metadata(content[:2] + odd + content[2:]) is None


PNG_EXTRAS = [
    chunk(b"eXIf", b"MM\0*" + SECRET),
    chunk(b"tEXt", b"Author\0" + SECRET),
    chunk(b"zTXt", b"Author\0\0" + zlib.compress(SECRET)),
    chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + SECRET),
    chunk(b"tIME", b"\x07\xe8\x01\x02\x03\x04\x05"),
    chunk(b"iCCP", b"mine\0\0" + zlib.compress(SECRET)),
    chunk(b"prIv", SECRET),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 999),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["RGB", "L"]),
    before=st.lists(st.sampled_from(PNG_EXTRAS)),
    after=st.lists(st.sampled_from(PNG_EXTRAS)),
    kept=st.sampled_from([b"", chunk(b"gAMA", (45455).to_bytes(4, "big")), chunk(b"sRGB", b"\0")]),
    tail=st.sampled_from([b"", SECRET]),
)
def test_of_a_png_the_pixels_stay_bit_for_bit_and_nothing_else(
    seed: int, size: tuple[int, int], mode: str, before: list[bytes], after: list[bytes], kept: bytes, tail: bytes
) -> None:
    bare = saved(picture(seed, size, mode), "PNG")
    bare = bare[:33] + kept + bare[33:]  # behind the signature and IHDR
    content = bare[:33] + b"".join(before) + bare[33:-12] + b"".join(after) + bare[-12:] + tail
    found = pack_image(content)
    assert (found.content, found.suffix, found.converted) == (bare, "png", False)
    assert (Picture(found.content).stored() == Picture(content).stored()).all()


def test_of_a_moving_png_the_first_picture_stays() -> None:
    frames = [picture(seed, (40, 30), "RGB") for seed in range(3)]
    for first_is_apart in (False, True):
        info = PngImagePlugin.PngInfo()
        info.add_text("Author", SECRET.decode())
        content = saved(
            frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=first_is_apart, pnginfo=info
        )
        assert getattr(Image.open(io.BytesIO(content)), "n_frames", 1) > 1
        found = pack_image(content)
        assert (found.suffix, found.converted) == ("png", True)
        assert SECRET not in found.content
        assert getattr(Image.open(io.BytesIO(found.content)), "n_frames", 1) == 1
        assert (Picture(found.content).stored() == Picture(content).stored()).all()


def test_of_damaged_files_that_are_taken_the_pixels_stay_as_well() -> None:
    files = {name: content for name, content in seeds().items() if name.startswith(("jpeg", "png"))}
    draw = random.Random(0)
    taken: Counter[bool] = Counter()
    for _ in range(300):
        odd = mutate(draw, files)
        try:
            if (picture := Picture(odd.content)).width * picture.height > 1_000_000:
                continue  # only slow
            found = pack_image(odd.content)
        except PictureError:
            continue
        if not found.converted:
            taken[found.stripped] += 1
            assert (Picture(found.content).stored() == Picture(odd.content).stored()).all(), odd
            assert pack_image(found.content).content == found.content, odd
    assert min(taken[True], taken[False]) > 10
