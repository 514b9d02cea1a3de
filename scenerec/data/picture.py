"""The one door for pictures: whoever is given a file has it decoded here, or refused in the same words.

Packing, both frameworks' input pipelines, evaluation, prediction and serving all come through it, so what one of them
takes the others take, and all see the same pixels. A damaged file is refused even where a decoder could patch it over:
an answer about half a picture looks like any other.
"""

import io
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

import numpy as np
import simplejpeg
from PIL import Image

from scenerec.data.augment import CenterCrop
from scenerec.data.jpeg_header import MAX_SCANS, has_too_many_scans, orientation_of_jpeg, size_of_jpeg
from scenerec.errors import DataError, first_line
from scenerec.models.preprocessing import Interpolation

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Formats that are decoded, by Pillow's names."""
FORMAT_NAMES = "JPEG, PNG, WebP, GIF or BMP"
"""The same for people."""
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp")
"""How files of these formats are called. What counts is their content."""
MAX_PIXELS = 50_000_000
"""Pixels of the largest picture that is taken, unless its caller says otherwise."""
MAX_SIDE_PX = 65_500
"""The longest side that is taken: libjpeg's. A longer line of one pixel's height would be resized to 10^10 pixels."""
UPRIGHT = 1
"""The EXIF orientation of a picture that need not be turned."""
ORIENTATION_TAG = 0x0112
FULL_SIZE = (0, 0)
"""The least size of a picture that is not to be reduced."""

_DECODED_OVER_RESIZED = 2  # of what a reduced decoding must leave: a small difference for a large saving
_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations
_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|GIF8[79]a|BM.{4}\0{4}", re.DOTALL)
_JPEG_DAMAGE = ("Corrupt JPEG data", "Inconsistent progression sequence")
"""How libjpeg begins to speak of pixels that it has made up. Its other remarks are on headers, or on a missing end."""
_PNG_HEADER_BYTES, _PNG_BIT_DEPTH_AT, _PNG_COLOR_TYPE_AT = 8, 24, 25
_PNG_GREY, _PNG_RGB = 0, 2
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_TEXTS_OF_ORIENTATION = (b"Raw profile type exif", b"XML:com.adobe.xmp")
_TIFF_PHOTOMETRIC, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 262, 322, 323
_TIFF_WHITE_IS_ZERO = 0

_FILTERS: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# Pillow's remarks on odd metadata and on big pictures. Not by catch_warnings, which threads would undo for each other.
warnings.filterwarnings("ignore", module=r"PIL\.")


class PictureError(DataError):
    """Bytes that do not become a picture."""


class UnknownFormatError(PictureError):
    """Bytes of no format that is read."""


class TooManyPixelsError(PictureError):
    """A picture of more pixels, in all or in one direction, than are decoded for one caller."""


class DamagedPictureError(PictureError):
    """Bytes that begin as a picture, and do not decode."""


@contextmanager
def _refusals() -> Iterator[None]:
    """Makes a PictureError of nearly anything, which is what decoders raise on damaged files."""
    try:
        yield
    except PictureError:
        raise
    except Exception as error:
        raise DamagedPictureError(f"cannot be decoded: {first_line(error)}") from None


class Picture:
    """An encoded picture whose header has been read. It can be decoded once.

    Attributes:
        width: in pixels, as stored.
        height: in pixels, as stored.

    Args:
        content: the file. A sequence of pictures stands for its first.
        max_pixels: pictures with more are refused by their header.
        formats: what is taken, by Pillow's names.

    Raises:
        UnknownFormatError: it is of none of these formats.
        TooManyPixelsError: it is too large.
        DamagedPictureError: its header cannot be read.
    """

    def __init__(self, content: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> None:
        self._content, self._formats = content, formats
        self._too_many = f"at most {max_pixels / 1e6:g} million are taken: scale it down"
        size = size_of_jpeg(content) if "JPEG" in formats else None
        self._is_usual_jpeg = size is not None
        self.width, self.height = size or self._image.size
        size_px = f"{self.width} x {self.height} pixels"
        if self.width * self.height > max_pixels:
            raise TooManyPixelsError(f"{size_px}: {self._too_many}")
        if max(self.width, self.height) > MAX_SIDE_PX:
            raise TooManyPixelsError(f"{size_px}: no side of more than {MAX_SIDE_PX} is taken: cut it into pieces")

    @cached_property
    @_refusals()
    def _image(self) -> Image.Image:
        """It as Pillow opens it, which takes a fifth of the time of decoding a small JPEG: only where it is needed."""
        try:
            return Image.open(io.BytesIO(self._content), formats=self._formats)
        except Image.DecompressionBombError:
            raise TooManyPixelsError(f"too many pixels: {self._too_many}") from None
        except Image.UnidentifiedImageError:
            if _SIGNATURE.match(self._content):
                raise DamagedPictureError("cannot be decoded: its header is damaged") from None
            raise UnknownFormatError(f"not a {FORMAT_NAMES} image") from None

    @property
    def format(self) -> str:
        """Its name, as Pillow has it."""
        is_jpeg = self._is_usual_jpeg or self._image.format == "MPO"  # MPO: further pictures behind one
        return "JPEG" if is_jpeg else str(self._image.format)

    @property
    def is_plain(self) -> bool:
        """Whether it is a JPEG or PNG of 8-bit RGB or grey, with nothing transparent."""
        if self.format == "PNG":
            depth, color_type = self._content[_PNG_BIT_DEPTH_AT], self._content[_PNG_COLOR_TYPE_AT]
            return depth == 8 and color_type in (_PNG_GREY, _PNG_RGB) and "transparency" not in self._image.info
        return self._is_usual_jpeg or (self.format == "JPEG" and self._image.mode in ("RGB", "L"))

    def stored(self, least: tuple[int, int] = FULL_SIZE) -> np.ndarray:
        """Decodes to 8-bit RGB, uint8 [height, width, 3], as stored; what is transparent becomes white.

        A JPEG that is twice as large as `least` (height and width in pixels) or more is decoded at half its size or
        less, as long as that is not smaller: by the inverse DCT of fewer coefficients (Wallace 1992). Raises
        PictureError.
        """
        with _refusals():
            return self._decode_jpeg(least) if self.format == "JPEG" else self._decode_other()

    def upright(self, least: tuple[int, int] = FULL_SIZE) -> np.ndarray:
        """Decodes as `stored` does, and turns the picture upright by its EXIF orientation.

        `least` is meant of the upright picture.
        """
        on_its_side = self.orientation in _ON_ITS_SIDE
        return turn_upright(self.stored(least[::-1] if on_its_side else least), self.orientation)

    @property
    def exif(self) -> Image.Exif:
        """What its camera has written beside it, when the picture has been decoded. Raises nearly anything."""
        return self._image.getexif()

    @cached_property
    def orientation(self) -> int:
        """The orientation, 1 to 8, by its EXIF or XMP; of nearly all pictures it is known by their header.

        That of a PNG may stand at its end, and where there is one, to ask Pillow for it decodes the picture.
        """
        value = None
        if self._is_usual_jpeg:
            value = orientation_of_jpeg(self._content)
        elif self.format == "PNG" and not _says_orientation(self._content):
            value = UPRIGHT
        if value is None:
            with suppress(Exception):  # damaged EXIF does not make a bad picture
                value = self.exif.get(ORIENTATION_TAG)
        return UPRIGHT if value is None or value not in range(1, 9) else value

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width of the upright picture in pixels."""
        return (self.width, self.height) if self.orientation in _ON_ITS_SIDE else (self.height, self.width)

    def _decode_jpeg(self, least: tuple[int, int]) -> np.ndarray:
        if has_too_many_scans(self._content):
            raise DamagedPictureError(f"cannot be decoded: a JPEG of more than {MAX_SCANS} scans")
        if self.is_plain:
            try:
                return simplejpeg.decode_jpeg(
                    self._content,
                    "RGB",
                    fastdct=False,
                    min_height=least[0],
                    min_width=least[1],
                    min_factor=1 if least == FULL_SIZE else 2,  # 5/8 to 7/8 take longer than all
                )
            except ValueError as error:
                if str(error).startswith(_JPEG_DAMAGE):
                    raise
        # CMYK, a rare subsampling, or a remark that Pillow may leave at that.
        if least != FULL_SIZE:
            self._image.draft(self._image.mode, least[::-1])
        return np.array(_to_rgb(self._image))

    def _decode_other(self) -> np.ndarray:
        if self.format == "PNG":
            _check_png(self._content)
        elif self.format == "BMP" and self._image.tile[0].codec_name == "bmp_rle":  # type: ignore[attr-defined]
            # Pillow unpacks it in Python: seconds for a few bytes that speak of a large picture.
            raise UnknownFormatError("a BMP with run-length encoding: save it as PNG")
        elif self.format == "TIFF":
            _check_tiff(self._image)
        self._image.load()
        return np.array(_to_rgb(self._image))


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors pixels [height, width, 3] of an EXIF orientation (EXIF 2.32, table 6)."""
    if orientation in _ON_ITS_SIDE:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def least_for(height: int, width: int) -> tuple[int, int]:
    """The least size at which a picture that is resized to (`height`, `width`) is decoded; all in pixels."""
    return _DECODED_OVER_RESIZED * height, _DECODED_OVER_RESIZED * width


def resize_and_crop(
    pixels: np.ndarray, crop: CenterCrop, image_size: int, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """Resizes (antialiased) and crops pixels [height, width, 3] to [image_size, image_size, 3], all uint8.

    Only what the crop leaves is computed; the filter reaches beyond its edges, as in the whole. `pixels` may have been
    decoded at less than their size. Raises PictureError.
    """
    rows, columns = pixels.shape[0] / crop.height, pixels.shape[1] / crop.width
    bottom, right = crop.top + image_size, crop.left + image_size
    box = (crop.left * columns, crop.top * rows, right * columns, bottom * rows)
    return resize_box(pixels, box, image_size, interpolation)


@_refusals()
def resize_box(
    pixels: np.ndarray,
    box: tuple[float, float, float, float],
    image_size: int,
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """Resizes (antialiased) a box (left, top, right, bottom) of pixels [height, width, 3] to a square.

    uint8 [image_size, image_size, 3]. Raises PictureError.
    """
    return np.asarray(Image.fromarray(pixels).resize((image_size, image_size), _FILTERS[interpolation], box=box))


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any pixel format that Pillow reads; what is transparent becomes white."""
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip at 255
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _check_png(content: bytes) -> None:
    """Refuses a PNG with a wrong checksum, or without its end: Pillow overlooks both where its pixels are."""
    view = memoryview(content)
    for kind, begin, end in _png_chunks(content):
        if zlib.crc32(view[begin - 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise DamagedPictureError("cannot be decoded: a checksum of the PNG does not agree")
        if kind == b"IEND":
            return
    raise DamagedPictureError("cannot be decoded: image file is truncated")


def _says_orientation(content: bytes) -> bool:
    """Whether a PNG has EXIF or XMP."""
    return any(
        kind == b"eXIf" or (kind in _PNG_TEXTS and content.startswith(_PNG_TEXTS_OF_ORIENTATION, begin))
        for kind, begin, _ in _png_chunks(content)
    )


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each whole chunk of a PNG, and where its data begin and end."""
    at = _PNG_HEADER_BYTES
    while at < len(content):
        begin = at + 8
        end = begin + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            return
        yield content[at + 4 : begin], begin, end
        at = end + 4


def _check_tiff(image: Image.Image) -> None:
    """Refuses a TIFF whose numbers have no known range of brightness, or whose tiles are larger than pictures."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    is_negative_of_16_bits = image.mode.startswith("I;16") and tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO
    if image.mode in ("F", "I", "LAB") or is_negative_of_16_bits:
        raise UnknownFormatError("a TIFF of floats, 32-bit numbers, Lab or a 16-bit negative: save it as 8-bit RGB")
    if tags.get(_TIFF_TILE_WIDTH, 0) * tags.get(_TIFF_TILE_HEIGHT, 0) > MAX_PIXELS:
        raise DamagedPictureError("cannot be decoded: its tiles are larger than pictures may be")
