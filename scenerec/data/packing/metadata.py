"""What is taken out of a photograph before it goes into a shard: all that does not change its pixels.

Cameras write into a file where it was taken (GPS), when, and by which device; editors add a history, and a thumbnail of
what was cropped away. Nothing is decoded here: the data of the pixels stay as they are, byte for byte.
"""

import re

_JPEG_SEGMENT = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in a scan: neither an escaped 255, nor a restart
_START_OF_SCAN, _END_OF_IMAGE, _COMMENT = 0xDA, 0xD9, 0xFE
_APP0, _APP14, _APP15 = 0xE0, 0xEE, 0xEF
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_PNG_SIGNATURE_BYTES, _PNG_AROUND_DATA_BYTES = 8, 12
_PNG_ANCILLARY = 0x20  # of a chunk's first letter
_PNG_MOVES = b"acTL"
_PNG_KEPT = (b"tRNS", b"gAMA", b"cHRM", b"sRGB")
"""Chunks without which pixels could look otherwise: a few numbers each."""


def without_metadata(content: bytes) -> bytes | None:
    """The JPEG or PNG without EXIF, XMP, IPTC, comments, profiles, thumbnails, further pictures and what follows it.

    The pixels decode as before. `content` has been decoded. A file that has nothing of that comes back as it is; for
    one whose parts are not understood it is None.
    """
    return _jpeg(content) if content[:2] == b"\xff\xd8" else _png(content)


def _jpeg(content: bytes) -> bytes | None:
    """See ITU-T T.81, annex B: segments, of which those of applications and comments can be missed."""
    parts, at, has_scan = [content[:2]], 2, False
    while segment := _JPEG_SEGMENT.match(content, at):
        kind = segment[1][0]
        if kind == _END_OF_IMAGE:
            return b"".join([*parts, segment[0]]) if has_scan else None
        length = int.from_bytes(content[segment.end() : segment.end() + 2], "big")
        end = segment.end() + length
        if length < 2 or end > len(content):
            return None
        if _APP0 <= kind <= _APP15 or kind == _COMMENT:
            parts.append(_kept_of_application(kind, content[segment.end() + 2 : end]))
        else:
            parts.append(content[at:end])
        at = end
        if kind == _START_OF_SCAN:
            has_scan = True
            found = _JPEG_MARKER.search(content, at)
            parts.append(content[at : found.start()] if found else content[at:])
            if found is None:  # decoders take the end for granted
                return b"".join(parts)
            at = found.start()
    return None


def _kept_of_application(kind: int, data: bytes) -> bytes:
    """What libjpeg reads of a segment of an application, to learn which colours it has: JFIF and Adobe's, bare."""
    if kind == _APP0 and data.startswith(b"JFIF\0") and len(data) >= _JFIF_BYTES:
        bare = data[: _JFIF_BYTES - 2] + b"\0\0"  # a thumbnail of no width and height
    elif kind == _APP14 and data.startswith(b"Adobe") and len(data) >= _ADOBE_BYTES:
        bare = data[:_ADOBE_BYTES]
    else:
        return b""
    return bytes((0xFF, kind)) + (2 + len(bare)).to_bytes(2, "big") + bare


def _png(content: bytes) -> bytes | None:
    """See ISO/IEC 15948: chunks, of which the ancillary ones can be missed."""
    parts, at = [content[:_PNG_SIGNATURE_BYTES]], _PNG_SIGNATURE_BYTES
    while at < len(content):
        kind = content[at + 4 : at + 8]
        if kind == _PNG_MOVES:
            return None  # its first picture may be made of several chunks of the others
        end = at + _PNG_AROUND_DATA_BYTES + int.from_bytes(content[at : at + 4], "big")
        if not kind[0] & _PNG_ANCILLARY or kind in _PNG_KEPT:
            parts.append(content[at:end])
        if kind == b"IEND":
            return b"".join(parts)
        at = end
    return None
