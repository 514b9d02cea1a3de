"""From the bytes of a photograph to what a network sees: quickly, and safely for bytes from anywhere.

The result is evaluation's (resize the short side with a bilinear, antialiased filter, crop the centre), for which
`scenerec.data.torch_input.decode_evaluation` is the reference: at most one level apart, where the picture is not much
larger than the network's input. A larger JPEG is decoded at a half, a quarter or an eighth of its size (the inverse
DCT of fewer coefficients; Wallace 1992), as long as that leaves twice the resized image: a small difference for a
large saving.
"""

import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from scenerec.data.augment import CenterCrop, center_crop
from scenerec.data.upright import ORIENTATION_TAG, UPRIGHT, orientation_of, to_rgb
from scenerec.errors import DataError, first_line

FORMATS = ("JPEG", "PNG", "WEBP")
"""Formats that are decoded, by Pillow's names."""
MAX_SCANS = 32
"""Most scans of a JPEG: encoders write about ten, and each one costs a pass over all pixels for a few bytes."""
_DECODED_OVER_RESIZED = 2  # of what a reduced decoding must leave
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # neither an escaped 255 of the data, nor a restart
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
_BARE_MARKERS = (b"\x01", b"\xd8")  # that no segment follows


class PhotographError(DataError):
    """Bytes that do not become an image."""


class UnknownFormatError(PhotographError):
    """Bytes that are neither a JPEG, a PNG nor a WebP."""


class TooManyPixelsError(PhotographError):
    """A picture of more pixels than are decoded for one caller."""


class DamagedImageError(PhotographError):
    """Bytes that begin as an image, and do not decode."""


@dataclass(frozen=True)
class Preparer:
    """Prepares photographs for one network.

    Attributes:
        image_size: side of the network's input in pixels.
        eval_crop_ratio: the short side is resized to image_size / eval_crop_ratio.
        max_pixels: pictures with more are refused by their header, before anything is decoded.
    """

    image_size: int
    eval_crop_ratio: float
    max_pixels: int = 50_000_000

    def __call__(self, content: bytes) -> np.ndarray:
        """An encoded picture -> uint8 RGB [image_size, image_size, 3].

        Upright by its EXIF orientation; white where it is transparent; the first picture of several. Raises
        PhotographError.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata and on big pictures
                header = Image.open(io.BytesIO(content), formats=FORMATS)
                width, height = header.size
                if width * height > self.max_pixels:
                    raise TooManyPixelsError(
                        f"{width} x {height} pixels: at most {self.max_pixels / 1e6:g} million are taken"
                    )
                return self._prepare(header, content)
        except PhotographError:
            raise
        except Image.DecompressionBombError:
            raise TooManyPixelsError(f"too many pixels: at most {self.max_pixels / 1e6:g} million are taken") from None
        except Image.UnidentifiedImageError:
            raise UnknownFormatError("not a JPEG, PNG or WebP image") from None
        except Exception as error:  # on damaged files the decoders raise nearly anything
            raise DamagedImageError(f"cannot be decoded: {first_line(error)}") from None

    def _prepare(self, header: Image.Image, content: bytes) -> np.ndarray:
        orientation = orientation_of(header)
        is_jpeg = header.format in ("JPEG", "MPO")  # MPO: a JPEG with further pictures behind it
        if is_jpeg and _has_too_many_scans(content):
            raise DamagedImageError(f"cannot be decoded: a JPEG of more than {MAX_SCANS} scans")
        if is_jpeg and header.mode in ("RGB", "L") and orientation == UPRIGHT:
            width, height = header.size
            crop = center_crop(height, width, self.image_size, self.eval_crop_ratio)
            return self._resized(Image.fromarray(_decode_jpeg(content, crop)), crop)
        short_side = self.image_size / self.eval_crop_ratio * _DECODED_OVER_RESIZED
        scale = short_side / min(header.size)
        header.draft(header.mode, (int(header.size[0] * scale), int(header.size[1] * scale)))  # JPEGs alone heed it
        image = to_rgb(header)
        if orientation != UPRIGHT:
            image.getexif()[ORIENTATION_TAG] = orientation
            image = ImageOps.exif_transpose(image)
        return self._resized(image, center_crop(image.height, image.width, self.image_size, self.eval_crop_ratio))

    def _resized(self, image: Image.Image, crop: CenterCrop) -> np.ndarray:
        """Only what the crop leaves is computed; the filter reaches beyond its edges, as in the whole."""
        rows, columns = image.height / crop.height, image.width / crop.width
        size = self.image_size
        box = (crop.left * columns, crop.top * rows, (crop.left + size) * columns, (crop.top + size) * rows)
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _has_too_many_scans(content: bytes) -> bool:
    """Whether decoding this JPEG takes hours: a progressive one of 20 MB has room for a quarter of a million scans."""
    if content.count(b"\xff" + _START_OF_SCAN) <= MAX_SCANS:  # nearly always
        return False
    scans = at = 0  # so many may lie in a thumbnail, or behind the picture as well: only its own segments count
    while found := _JPEG_MARKER.search(content, at):
        at = found.end()
        if found[1] == _END_OF_IMAGE:
            return False
        if found[1] == _START_OF_SCAN:
            scans += 1
            if scans > MAX_SCANS:
                return True
        if found[1] not in _BARE_MARKERS:
            at += int.from_bytes(content[at : at + 2], "big")
    return False


def _decode_jpeg(content: bytes, crop: CenterCrop) -> np.ndarray:
    """uint8 RGB [height, width, 3], reduced where it is much larger than the resized image."""
    return simplejpeg.decode_jpeg(
        content,
        colorspace="RGB",
        min_height=crop.height * _DECODED_OVER_RESIZED,
        min_width=crop.width * _DECODED_OVER_RESIZED,
    )
