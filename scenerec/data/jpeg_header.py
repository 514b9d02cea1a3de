"""What the bytes of a JPEG say before it is decoded."""

import re
from contextlib import suppress

import numpy as np
import simplejpeg

MAX_SCANS = 32
"""Most scans of a JPEG: encoders write about ten, and each one costs a pass over all pixels for a few bytes."""

_JPEG = b"\xff\xd8\xff"
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # neither an escaped 255 of the data, nor a restart
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
_BARE_MARKERS = (b"\x01", b"\xd8")  # that no segment follows


def size_of_jpeg(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of RGB or grey, in a twentieth of Pillow's time; None where Pillow must say it."""
    if content.startswith(_JPEG):
        with suppress(ValueError, KeyError):  # KeyError: of a subsampling that it has no name for
            height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
            return (width, height) if colors in ("YCbCr", "RGB", "Gray") else None
    return None


def has_too_many_scans(content: bytes) -> bool:
    """Whether decoding this JPEG takes hours: a progressive one of 20 MB has room for a quarter of a million scans."""
    levels = np.frombuffer(content, np.uint8)
    marks = (levels[:-1] == 0xFF) & (levels[1:] == _START_OF_SCAN[0])  # a third of the time of bytes.count
    if np.count_nonzero(marks) <= MAX_SCANS:  # nearly always
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
