"""JPEGs of any chroma subsampling: Pillow and the other writers at hand offer the common ones alone."""

import struct
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

Factors = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Horizontal and vertical sampling factors of luma, Cb and Cr."""

RARE: tuple[Factors, ...] = (
    ((2, 2), (2, 1), (1, 1)),
    ((3, 1), (1, 1), (1, 1)),
    ((4, 2), (1, 1), (1, 1)),
    ((2, 2), (1, 2), (1, 1)),
    ((1, 3), (1, 1), (1, 1)),
    ((1, 4), (1, 1), (1, 1)),  # of which libjpeg-turbo has a name, and simplejpeg not
    ((1, 1), (2, 2), (1, 1)),
    ((3, 2), (1, 1), (1, 2)),
)
"""Valid ones that TurboJPEG has no name for."""

_CATEGORIES = range(12)  # of a difference: how many bits it has
_CODE_BITS = 4


def subsampled_jpeg(image: Image.Image, factors: Factors) -> bytes:
    """A baseline JPEG of blocks of one colour each (ITU-T T.81): enough to tell whether and how it is decoded."""
    width, height = image.size
    most_h, most_v = (max(factor[axis] for factor in factors) for axis in (0, 1))
    columns, rows = -(-width // (8 * most_h)), -(-height // (8 * most_v))
    padded = Image.new("RGB", (columns * 8 * most_h, rows * 8 * most_v))
    padded.paste(image.resize(padded.size))
    padded.paste(image)
    planes = [
        np.asarray(plane.resize((columns * h, rows * v), Image.Resampling.BOX)).astype(int) - 128
        for plane, (h, v) in zip(padded.convert("YCbCr").split(), factors, strict=True)
    ]
    components = b"".join(bytes([index + 1, h << 4 | v, 0]) for index, (h, v) in enumerate(factors))
    table = bytes([0] * (_CODE_BITS - 1) + [len(_CATEGORIES)] + [0] * (16 - _CODE_BITS)) + bytes(_CATEGORIES)
    end_of_block = bytes([1] + [0] * 15) + b"\0"  # a code of one bit
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xDB, b"\0" + bytes([8] * 64)),
            _segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + components),
            _segment(0xC4, b"\0" + table),
            _segment(0xC4, b"\x10" + end_of_block),
            _segment(0xDA, b"\x03\x01\0\x02\0\x03\0\0\x3f\0"),
            _entropy_coded(planes, factors, rows, columns),
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _entropy_coded(planes: Sequence[np.ndarray], factors: Factors, rows: int, columns: int) -> bytes:
    bits, before = "", [0, 0, 0]
    for component, value in _blocks(planes, factors, rows, columns):
        difference = value - before[component]
        before[component] = value
        size = abs(difference).bit_length()
        amount = difference if difference >= 0 else difference + (1 << size) - 1
        bits += f"{size:0{_CODE_BITS}b}" + (f"{amount:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    content = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return content.replace(b"\xff", b"\xff\0")


def _blocks(planes: Sequence[np.ndarray], factors: Factors, rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Component and value of each block, in the order of the file."""
    for row in range(rows):
        for column in range(columns):
            for component, (h, v) in enumerate(factors):
                part = planes[component][row * v : (row + 1) * v, column * h : (column + 1) * h]
                yield from ((component, int(value)) for value in part.flat)
