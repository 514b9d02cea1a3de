"""The formats that packing takes beside those that are decoded everywhere: a picture is packed once, and offline."""

from functools import cache

from scenerec.data.foreign_formats import foreign_format
from scenerec.data.picture import FORMATS, DamagedPictureError, Picture, UnknownFormatError

_MORE = ("TIFF", "AVIF")
_BY_EXTRA = "HEIC"
_NAMES = {"HEIF": "HEIC", "WEBP": "WebP"}


def open_source(content: bytes) -> Picture:
    """The picture in a file that is to be packed. Raises PictureError, which names a format that is not taken."""
    foreign = foreign_format(content)
    heif = _heif() if foreign == _BY_EXTRA else ()
    try:
        return Picture(content, formats=(*FORMATS, *_MORE, *heif))
    except UnknownFormatError:
        if foreign is None:
            raise
        if foreign in _MORE or heif:
            raise DamagedPictureError("cannot be decoded: its header is damaged") from None
        first = "pip install 'scenerec[heic]', or " if foreign == _BY_EXTRA else ""
        raise UnknownFormatError(f"{foreign} is not read: {first}convert it to JPEG or PNG") from None


def format_name(picture: Picture) -> str:
    """The name that people know of a picture's format."""
    return _NAMES.get(picture.format, picture.format)


@cache
def _heif() -> tuple[str, ...]:
    """Pillow's name for HEIC, where the extra is installed that decodes it."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return ()
    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    return ("HEIF",)
