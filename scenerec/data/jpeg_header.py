"""What the bytes of a JPEG say before it is decoded."""

import re
import struct
from contextlib import suppress

import numpy as np
import simplejpeg

MAX_SCANS = 32
"""Most scans of a JPEG: encoders write about ten, and each one costs a pass over all pixels for a few bytes."""

_JPEG = b"\xff\xd8\xff"
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # neither an escaped 255 of the data, nor a restart
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
_BARE_MARKERS = (b"\x01", b"\xd8")  # that no segment follows
_FRAMES_WITHOUT_PROGRESSION = (0xC0, 0xC1)  # start of frame, baseline and extended
_SEGMENTS = {*range(0xC0, 0xD0), *range(0xDA, 0xFF)}  # what has a length: between lie restarts, and both ends
_SCAN, _APP1, _EXIF, _XMP = 0xDA, 0xE1, b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_ORIENTATION_TAG, _SHORT = 0x0112, 3
_TIFF_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_UPRIGHT = 1


def size_of_jpeg(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of RGB or grey, in a twentieth of Pillow's time; None where Pillow must say it."""
    if content.startswith(_JPEG):
        with suppress(ValueError, KeyError):  # KeyError: of a subsampling that it has no name for
            height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
            return (width, height) if colors in ("YCbCr", "RGB", "Gray") else None
    return None


def orientation_of_jpeg(content: bytes) -> int | None:
    """The orientation of a JPEG by its EXIF (1 to 8 are valid), in a fiftieth of Pillow's time.

    1 where it has neither EXIF nor XMP, and None where Pillow must say it.
    """
    exif, has_xmp, at = b"", False, 2
    try:
        while (kind := content[at + 1]) != _SCAN:
            if content[at] != 0xFF or not 0xC0 <= kind < 0xFF:
                return None
            end = at + 2 + (content[at + 2] << 8 | content[at + 3])
            if kind == _APP1:
                data = content[at + 4 : end]
                has_xmp = has_xmp or data.startswith(_XMP)
                if data.startswith(_EXIF):
                    if exif:
                        return None
                    exif = data[len(_EXIF) :]
            at = end
        said = _orientation_of_exif(exif) if exif else None
    except (ValueError, IndexError):  # IndexError: of a file that ends here
        return None
    return _UPRIGHT if said is None and not has_xmp else said


def _orientation_of_exif(tiff: bytes) -> int | None:
    """The tag of the first directory (TIFF 6.0, section 2), None where it is not there. ValueError for what is odd."""
    said = None
    try:
        order = {b"II*\0": "<", b"MM\0*": ">"}[tiff[:4]]
        [directory] = struct.unpack_from(f"{order}I", tiff, 4)
        [entries] = struct.unpack_from(f"{order}H", tiff, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count, offset = struct.unpack_from(f"{order}HHII", tiff, at)
            size = count * _TIFF_UNIT_BYTES.get(kind, 0)
            if size > 4 and offset + size > len(tiff):  # where Pillow gives up
                raise ValueError
            if tag == _ORIENTATION_TAG and said is None:
                if (kind, count) != (_SHORT, 1):
                    raise ValueError
                [said] = struct.unpack_from(f"{order}H", tiff, at + 8)
    except (KeyError, struct.error):
        raise ValueError from None
    return said


def has_too_many_scans(content: bytes) -> bool:
    """Whether decoding this JPEG takes hours: a progressive one of 20 MB has room for a quarter of a million scans."""
    if _has_one_scan(content):
        return False
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


def _has_one_scan(content: bytes) -> bool:
    """Whether its header says that the first scan has all components, whole: libjpeg then takes no further one.

    False also where the header is not segment after segment: libjpeg passes over bytes between them, and over markers
    that have no length, and would find another header than is read here.
    """
    components, at = None, 2
    try:
        while content[at] == 0xFF and content[at + 1] in _SEGMENTS:
            if content[at + 1] == _SCAN:
                return content[at + 4] == components
            if content[at + 1] in _FRAMES_WITHOUT_PROGRESSION:
                components = content[at + 9]
            at += 2 + (content[at + 2] << 8 | content[at + 3])
    except IndexError:  # of a file that ends here
        pass
    return False
