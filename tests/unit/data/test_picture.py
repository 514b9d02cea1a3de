"""The door for pictures: all parts of the product take the same files, refuse the same, and see the same pixels."""

import io
import random
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from scenerec.data.augment import CenterCrop, center_crop
from scenerec.data.packed_image import evaluation_pixels, image_size
from scenerec.data.packing.intake import pack_image
from scenerec.data.picture import (
    ORIENTATION_TAG,
    UPRIGHT,
    DamagedPictureError,
    Picture,
    PictureError,
    TooManyPixelsError,
    UnknownFormatError,
    turn_upright,
)
from scenerec.inference.predictors.photograph import Preparer
from scenerec.models.preprocessing import Interpolation
from tests.mutated_images import mutate, seeds
from tests.picture_doors import SIZE, answers, loads_strictly
from tests.subsampled_jpeg import RARE, Factors, subsampled_jpeg


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """Smooth and colourful, 150 x 110."""
    corners = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((150, 110), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def takes(content: bytes) -> bool:
    """Whether all doors take a file. They are of one mind, and say the same."""
    said = answers(content)
    assert len(set(said.values())) == 1, said
    return not said["predict"]


def refusal(content: bytes) -> str:
    """What all doors say of a file that they refuse."""
    assert not takes(content)
    return answers(content)["predict"]


def evaluated(content: bytes, size: int) -> np.ndarray:
    """As the networks see it, uint8 [size, size, 3]."""
    return evaluation_pixels(content, center_crop(*image_size(content, ""), size, 1.0), size)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp"])
def test_what_a_strict_decoder_refuses_all_doors_refuse(kind: str) -> None:
    files = {name: content for name, content in seeds().items() if name.startswith(kind)}
    assert files
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for index in range(60):
        content = mutate(random.Random(f"doors/{index}"), files).content
        try:
            if Picture(content).width * Picture(content).height > 1_000_000:
                continue  # only slow
        except PictureError:
            pass
        outcomes[loads_strictly(content), takes(content)] += 1
    assert outcomes[False, True] == 0
    assert min(outcomes[False, False], outcomes[True, True]) > 5


def test_every_changed_byte_of_a_pngs_pixels_is_found(scene: Image.Image) -> None:
    content = encode(scene, "PNG")
    start, end = content.index(b"IDAT") + 4, content.index(b"IEND") - 8
    draw = random.Random(0)
    for at in draw.sample(range(start, end), 60):
        damaged = content[:at] + bytes([content[at] ^ draw.randrange(1, 256)]) + content[at + 1 :]
        assert refusal(damaged).startswith("DamagedPictureError: cannot be decoded: ")


@pytest.mark.parametrize("lost", [1, 12, 40])
def test_a_png_that_ends_early_is_damaged(scene: Image.Image, lost: int) -> None:
    content = encode(scene, "PNG")
    assert takes(content + b"what is behind the end")
    assert not takes(content[:-lost])


def test_a_png_whose_header_is_damaged_is_no_unknown_format(scene: Image.Image) -> None:
    content = encode(scene, "PNG")
    said = refusal(content[:17] + b"\x07" + content[18:])
    assert said == "DamagedPictureError: cannot be decoded: its header is damaged"


def test_jpeg_data_that_libjpeg_calls_corrupt_is_refused(scene: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for content in (encode(scene, "JPEG", quality=90), encode(scene, "JPEG", quality=90, exif=exif.tobytes())):
        at = content.index(b"\xff\xda") + 400
        zeroed = content[:at] + bytes(600) + content[at + 600 :]  # as by a download that was begun as a file of zeros
        assert loads_strictly(zeroed)  # Pillow paints the rest grey
        assert "Corrupt JPEG data" in refusal(zeroed)


def test_a_jpeg_of_which_only_the_header_or_what_follows_is_odd_is_taken(scene: Image.Image) -> None:
    content = encode(scene, "JPEG", quality=90)
    expected = Picture(content).stored()
    scan = content.index(b"\xff\xda")
    samsung = content[: scan + 11] + b"\0\x40" + content[scan + 13 :]  # spectral selection to 64, of a baseline JPEG
    for odd in (samsung, content + b"more"):
        assert takes(odd)
        assert (Picture(odd).stored() == expected).all()


@pytest.mark.parametrize("factors", RARE)
def test_valid_subsamplings_are_taken(scene: Image.Image, factors: Factors) -> None:
    content = subsampled_jpeg(scene, factors)
    assert takes(content)
    assert pack_image(content) == (content, "jpg", False, False, False, "JPEG")
    shown = np.asarray(scene.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(20, 0, 130, 110))).astype(int)
    for prepared in (evaluated(content, SIZE), Preparer(SIZE, 1.0)(content)):
        assert np.abs(prepared - shown).mean() < 20  # its blocks are of one colour each


@pytest.mark.parametrize(("kind", "kept"), [("GIF", True), ("BMP", True), ("WEBP", False)])
def test_other_formats_are_packed_and_predicted_alike(scene: Image.Image, kind: str, kept: bool) -> None:
    content = encode(scene, kind)
    assert takes(content)
    packed = pack_image(content)
    assert (packed.suffix, packed.converted) == ("png" if kept else "jpg", True)
    difference = np.abs(Picture(packed.content).stored().astype(int) - Picture(content).stored())
    assert difference.max() == 0 if kept else difference.mean() < 2
    assert np.abs(evaluated(packed.content, SIZE).astype(int) - Preparer(SIZE, 1.0)(content)).max() <= (
        1 if kept else 8
    )


def test_of_a_moving_picture_the_first_is_taken(scene: Image.Image) -> None:
    first = scene.quantize(64)
    moving = encode(first, "GIF", save_all=True, append_images=[first.transpose(Image.Transpose.ROTATE_180)])
    with Image.open(io.BytesIO(moving)) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert (Picture(moving).stored() == np.asarray(first.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["PPM", "PCX", "TGA"])
def test_formats_that_nobody_reads_are_refused_in_the_same_words(scene: Image.Image, kind: str) -> None:
    content = encode(scene, kind)
    assert refusal(content) == "UnknownFormatError: not a JPEG, PNG, WebP, GIF or BMP image"


def test_a_bmp_with_run_lengths_is_refused_before_its_rows_are_filled_one_by_one() -> None:
    content = bytearray(encode(Image.new("P", (64, 64)), "BMP"))
    content[30] = 1  # RLE8
    with pytest.raises(UnknownFormatError, match="save it as PNG"):
        Picture(bytes(content)).stored()


def test_packing_takes_no_more_pixels_than_serving() -> None:
    content = bytearray(encode(Image.new("L", (16, 16)), "PNG"))
    content[16:24] = (8000).to_bytes(4, "big") + (7000).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    said = "8000 x 7000 pixels: at most 50 million are taken: scale it down"
    for door in (pack_image, Preparer(SIZE, 1.0)):
        with pytest.raises(TooManyPixelsError, match=said):
            door(bytes(content))


def test_a_line_that_would_be_resized_beyond_measure_is_refused() -> None:
    content = encode(Image.new("L", (65_501, 2)), "PNG")
    assert refusal(content) == (
        "TooManyPixelsError: 65501 x 2 pixels: no side of more than 65500 is taken: cut it into pieces"
    )
    assert takes(encode(Image.new("L", (65_500, 2)), "PNG"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_as_pillow_turns(scene: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    content = encode(scene, "PNG", exif=exif.tobytes())
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert (Picture(content).upright() == np.asarray(expected)).all()
    assert (turn_upright(np.asarray(scene), orientation) == np.asarray(expected)).all()


def by_pillow(content: bytes) -> int:
    """The orientation of a file by Pillow alone."""
    with Image.open(io.BytesIO(content)) as image:
        try:
            said = image.getexif().get(ORIENTATION_TAG)
        except Exception:
            return UPRIGHT
    return UPRIGHT if said is None or said not in range(1, 9) else said


def xmp(orientation: int) -> bytes:
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


@pytest.mark.parametrize("orders", ["II", "MM"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_is_known_before_anything_is_decoded(scene: Image.Image, kind: str, orders: str) -> None:
    exif = Image.Exif()
    exif.endian = "<" if orders == "II" else ">"
    found = []
    for orientation in range(10):
        exif[ORIENTATION_TAG], exif[0x0132] = orientation, "2026:11:30 12:00:00"
        picture = Picture(content := encode(scene, kind, exif=exif.tobytes()))
        found.append(picture.orientation)
        assert picture.upright_size == ((150, 110) if picture.orientation > 4 else (110, 150))
        assert (evaluated(content, SIZE) == Preparer(SIZE, 1.0)(content)).all()
    assert found == [1, *range(1, 9), 1]
    assert Picture(encode(scene, kind)).orientation == UPRIGHT
    said_by_xmp = [Picture(encode(scene, kind, **_xmp_option(kind, n))).orientation for n in (3, 6)]
    assert said_by_xmp == [by_pillow(encode(scene, kind, **_xmp_option(kind, n))) for n in (3, 6)] == [3, 6]


def _xmp_option(kind: str, orientation: int) -> dict[str, object]:
    if kind != "PNG":
        return {"xmp": xmp(orientation)}
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(orientation).decode())
    return {"pnginfo": text}


def test_odd_exif_says_what_it_says_to_pillow(scene: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[ORIENTATION_TAG], exif[0x0131] = "A maker", 6, "A program"
    written = exif.tobytes()
    content, tagged = encode(scene, "JPEG", exif=written), encode(scene, "JPEG", exif=written, xmp=xmp(3))
    draw, found = random.Random(0), Counter[int]()
    for start in (content, tagged):
        at = start.index(written)
        for _ in range(300):
            odd = bytearray(start)
            for _ in range(draw.choice((1, 1, 2, 5))):
                place = at + draw.randrange(len(written))
                odd[place] = draw.choice((0, 1, 2, 3, 4, 8, 0x12, 0xFF, draw.randrange(256)))
            if draw.random() < 0.2:
                odd[at - 2 : at] = draw.randrange(8, len(written) + 20).to_bytes(2, "big")
            try:
                picture = Picture(bytes(odd))
            except PictureError:
                continue
            assert picture.orientation == by_pillow(bytes(odd)), bytes(odd[: at + len(written)])
            found[picture.orientation] += 1
    assert min(found[1], found[3], found[6]) > 10


@pytest.mark.parametrize("size", [(2, 16_000), (16_000, 2), (1, 1)])
def test_of_extreme_proportions_only_the_crop_is_resized(size: tuple[int, int]) -> None:
    """Resized as a whole, 2 x 16000 pixels would be 192 x 1,536,000."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), "PNG")
    crop = center_crop(size[1], size[0], 168, 0.875)
    assert crop.height * crop.width > 10_000_000 or size == (1, 1)
    assert (evaluation_pixels(content, crop, 168) == Preparer(168, 0.875)(content)).all()


@pytest.mark.parametrize(
    ("interpolation", "resampling"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
def test_an_extreme_crop_is_that_of_the_whole(interpolation: Interpolation, resampling: Image.Resampling) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 200, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), "PNG")
    crop = center_crop(8, 200, 40, 0.875)
    assert crop == (46, 1150, 3, 555)
    prepared = Preparer(40, 0.875, interpolation=interpolation)(content)
    assert (evaluation_pixels(content, crop, 40, interpolation=interpolation) == prepared).all()
    for at in (crop, CenterCrop(46, 1150, 6, 0), CenterCrop(46, 1150, 0, 1110)):
        ours = evaluation_pixels(content, at, 40, interpolation=interpolation)
        whole = np.asarray(Image.fromarray(noise).resize((1150, 46), resampling))
        assert np.abs(ours.astype(int) - whole[at.top : at.top + 40, at.left : at.left + 40]).max() <= 1


def test_errors_are_one_line() -> None:
    with pytest.raises(DamagedPictureError) as caught:
        Picture(b"\x89PNG\r\n\x1a\n" + b"\n" * 50)
    assert "\n" not in str(caught.value)
