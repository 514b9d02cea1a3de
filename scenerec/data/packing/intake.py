"""What a source file becomes in a shard: kept byte for byte where it is plain, re-encoded where it is not."""

import io
import warnings
from typing import NamedTuple

from PIL import Image, ImageOps

from scenerec.data.upright import UPRIGHT, orientation_of, to_rgb

PNG_BIT_DEPTH_AT, PNG_COLOR_TYPE_AT = 24, 25
PNG_GREY, PNG_RGB = 0, 2


class FormatError(ValueError):
    """A file that is neither a JPEG nor a PNG."""


class PackedImage(NamedTuple):
    """An image as a shard stores it."""

    content: bytes
    suffix: str
    """`jpg` or `png`."""
    converted: bool
    """Whether it was re-encoded: for its pixel format (CMYK, 16 bit, palette, alpha) or EXIF orientation."""
    resized: bool
    """Whether it was shrunk to the short side."""


def pack_image(content: bytes, short_side: int | None = None, quality: int = 90) -> PackedImage:
    """Decodes a JPEG or PNG completely, and makes it an upright 8-bit RGB JPEG if it is not yet plain.

    An image whose short side exceeds `short_side` pixels is shrunk to it; none is enlarged. What is transparent becomes
    white. Raises FormatError for other formats and ValueError for files that cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata and on big pictures
        try:
            image: Image.Image = Image.open(io.BytesIO(content))
            if image.format not in ("JPEG", "MPO", "PNG"):  # MPO: a JPEG with further pictures behind it
                raise FormatError(f"a {image.format} file, not a JPEG or PNG")
            target = _shrunk(image.size, short_side)
            if target:
                image.draft(image.mode, (2 * target[0], 2 * target[1]))  # decodes a large JPEG at half or less
            image.load()
            orientation = orientation_of(image)
            plain = orientation == UPRIGHT and _is_plain(image, content)
            if plain and not target:
                return PackedImage(content, "png" if image.format == "PNG" else "jpg", False, False)
            if not plain:
                image = to_rgb(image)
            if target:
                image = image.resize(target, Image.Resampling.LANCZOS)
            if orientation != UPRIGHT:
                image = ImageOps.exif_transpose(image)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            return PackedImage(buffer.getvalue(), "jpg", not plain, target is not None)
        except FormatError:
            raise
        except Image.UnidentifiedImageError:
            raise FormatError("not a JPEG or PNG") from None
        except Exception as error:  # on damaged files Pillow raises nearly anything
            raise ValueError(f"cannot be decoded: {str(error) or type(error).__name__}") from None


def _is_plain(image: Image.Image, content: bytes) -> bool:
    """Whether every decoder gives the same 8-bit RGB or grey pixels."""
    if image.format == "PNG":
        color_type = content[PNG_COLOR_TYPE_AT]
        plain = content[PNG_BIT_DEPTH_AT] == 8 and color_type in (PNG_GREY, PNG_RGB)
        return plain and "transparency" not in image.info
    return image.mode in ("RGB", "L")


def _shrunk(size: tuple[int, int], short_side: int | None) -> tuple[int, int] | None:
    """Width and height with the given short side; None for an image that is not larger."""
    if short_side is None or min(size) <= short_side:
        return None
    scale = short_side / min(size)
    return max(short_side, round(size[0] * scale)), max(short_side, round(size[1] * scale))
