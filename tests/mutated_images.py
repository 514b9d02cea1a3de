"""Damaged pictures without end: files of every kind that is read, and what can happen to them."""

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from scenerec.data.picture import ORIENTATION_TAG
from tests.subsampled_jpeg import RARE, subsampled_jpeg

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SIDES = (0, 1, 2, 255, 7000, 7071, 20_000, 65_535)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Passes of an interlaced PNG: first column, first row, and the steps to the next ones."""


@dataclass(frozen=True)
class Mutated:
    """A damaged picture."""

    seed: str
    """Which file it was."""
    changes: tuple[str, ...]
    """What was done to it."""
    content: bytes


def seeds() -> dict[str, bytes]:
    """Sound files by what they are, of 96 x 64 pixels."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((96, 64), Image.Resampling.BICUBIC)
    grey, clear = rgb.convert("L"), rgb.convert("RGBA")
    clear.putalpha(grey)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    made: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        ("jpeg 4:2:0", rgb, "JPEG", {"subsampling": 2}),
        ("jpeg 4:4:4", rgb, "JPEG", {"subsampling": 0, "quality": 95}),
        ("jpeg progressive", rgb, "JPEG", {"progressive": True}),
        ("jpeg cmyk", rgb.convert("CMYK"), "JPEG", {}),
        ("jpeg grey", grey, "JPEG", {}),
        ("jpeg exif", rgb, "JPEG", {"exif": exif.tobytes(), "comment": b"a comment"}),
        ("jpeg restart markers", rgb, "JPEG", {"restart_marker_blocks": 3}),
        ("jpeg of two", rgb, "MPO", {"save_all": True, "append_images": [grey.convert("RGB")]}),
        ("png 1 bit", rgb.convert("1"), "PNG", {}),
        ("png 8 bit", grey, "PNG", {}),
        ("png 16 bit", deep, "PNG", {}),
        ("png rgb", rgb, "PNG", {"exif": exif.tobytes(), "dpi": (72, 72)}),
        ("png palette", rgb.quantize(17), "PNG", {"transparency": 3}),
        ("png alpha", clear, "PNG", {}),
        ("png grey alpha", clear.convert("LA"), "PNG", {}),
        ("png of two", rgb, "PNG", {"save_all": True, "append_images": [grey.convert("RGB")]}),
        ("webp", rgb, "WEBP", {}),
        ("webp lossless", rgb, "WEBP", {"lossless": True, "exif": exif.tobytes()}),
        ("webp alpha", clear, "WEBP", {}),
        ("gif", rgb, "GIF", {}),
        ("gif clear", rgb.quantize(17), "GIF", {"transparency": 3, "interlace": 1}),
        ("gif of two", rgb, "GIF", {"save_all": True, "append_images": [grey.convert("RGB")]}),
        ("bmp", rgb, "BMP", {}),
        ("bmp 1 bit", rgb.convert("1"), "BMP", {}),
        ("bmp palette", rgb.quantize(17), "BMP", {}),
        ("webp of two", rgb, "WEBP", {"save_all": True, "append_images": [grey.convert("RGB")], "duration": 50}),
    ]
    found = {name: _encode(image, kind, options) for name, image, kind, options in made}
    rare = {f"jpeg subsampled {factors}": subsampled_jpeg(rgb, factors) for factors in RARE}
    return {**found, **rare, "png interlaced": _interlaced(np.asarray(rgb))}


def mutate(draw: random.Random, files: dict[str, bytes]) -> Mutated:
    """One of these files, damaged once to three times."""
    name = draw.choice(list(files))
    content = files[name]
    changes = tuple(draw.choice(list(_MUTATIONS)) for _ in range(draw.choice((1, 1, 1, 2, 3))))
    for change in changes:
        content = _MUTATIONS[change](draw, content, list(files.values()))
    if content.startswith(_PNG_SIGNATURE) and draw.random() < 0.7:  # else its checksums give nearly all away
        content = _with_checksums(content)
    return Mutated(name, changes, content)


def _encode(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _interlaced(pixels: np.ndarray) -> bytes:
    """A PNG of RGB pixels by Adam7, which Pillow reads and does not write."""
    height, width = pixels.shape[:2]
    rows = b"".join(
        b"\0" + row.tobytes() for left, top, right, down in _ADAM7 for row in pixels[top::down, left::right]
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _with_checksums(content: bytes) -> bytes:
    parts = _segments(content)
    return parts[0] + b"".join(
        part if len(part) < 12 else part[:-4] + zlib.crc32(part[4:-4]).to_bytes(4, "big") for part in parts[1:]
    )


def _segments(content: bytes) -> list[bytes]:
    """Its parts by its own format, as far as that can be followed; joined they are the file."""
    cuts = [0]
    if content.startswith(b"\xff\xd8"):
        at = 2
        while found := _JPEG_MARKER.search(content, at):
            cuts.append(found.start())
            at = found.end() if found[0] == b"\xff\xd9" else found.end() + _number(content[found.end() :], 0, 2, "big")
    elif content.startswith(_PNG_SIGNATURE):
        at = 8
        while at < len(content):
            cuts.append(at)
            at += 12 + _number(content, at, 4, "big")
    elif content.startswith(b"RIFF"):
        at = 12
        while at < len(content):
            cuts.append(at)
            size = _number(content, at + 4, 4, "little")
            at += 8 + size + size % 2
    return [content[start:end] for start, end in zip(cuts, [*cuts[1:], len(content)], strict=True)]


def _number(content: bytes, at: int, size: int, order: Any) -> int:
    return int.from_bytes(content[at : at + size], order)


def _flip_bits(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8, 64)) if damaged else 0):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _overwrite(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    at, count = draw.randrange(len(content) + 1), draw.choice((1, 4, 30, 300))
    value = draw.choice((b"\0", b"\xff", b"\x7f", b"\x80", b""))
    return content[:at] + (value * count if value else draw.randbytes(count)) + content[at + count :]


def _cut_off(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _cut_out(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + content[at + draw.choice((1, 2, 10, 100)) :]


def _repeat_segment(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    parts = _segments(content)
    at = draw.randrange(len(parts))
    return b"".join(
        [*parts[:at], *[parts[at]] * draw.choice((2, 3, 50, 3000 if len(parts[at]) < 200 else 4)), *parts[at + 1 :]]
    )


def _drop_segment(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    parts = _segments(content)
    del parts[draw.randrange(len(parts))]
    return b"".join(parts)


def _swap_segments(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    parts = _segments(content)
    draw.shuffle(tail := parts[1:])
    return b"".join([parts[0], *tail])


def _splice(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    parts = _segments(content)
    foreign = draw.choice(_segments(draw.choice(others)))
    parts.insert(draw.randrange(len(parts) + 1), foreign)
    return b"".join(parts)


def _set_length(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    parts = _segments(content)
    at = draw.randrange(len(parts))
    start, size = {b"\xff\xd8": (2, 2), b"\x89P": (0, 4), b"RI": (4, 4)}.get(content[:2], (0, 2))
    value = draw.choice((0, 1, 2, 0x7F, 2 ** (8 * size - 1) - 1, 2 ** (8 * size) - 1, 2 ** (8 * size) - 4))
    order: Any = "little" if content.startswith(b"RIFF") else "big"
    parts[at] = parts[at][:start] + value.to_bytes(size, order) + parts[at][start + size :]
    return b"".join(parts)


def _set_dimensions(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """As the headers of all three formats tell them."""
    width, height = draw.choice(_SIDES), draw.choice(_SIDES)
    parts = _segments(content)
    for index, part in enumerate(parts):
        if part[:2] in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"):
            parts[index] = part[:5] + struct.pack(">HH", height, width) + part[9:]
        elif part[4:8] == b"IHDR":
            parts[index] = part[:8] + struct.pack(">II", width, height) + part[16:]
        elif part[:4] == b"VP8X":
            sides = [(max(side, 1) - 1).to_bytes(3, "little") for side in (width, height)]
            parts[index] = part[:12] + sides[0] + sides[1] + part[18:]
        elif part[:4] == b"VP8 ":
            parts[index] = part[:14] + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + part[18:]
        elif part[:4] == b"VP8L":
            bits = (max(width, 1) - 1 & 0x3FFF) | (max(height, 1) - 1 & 0x3FFF) << 14
            parts[index] = part[:9] + bits.to_bytes(4, "little") + part[13:]
    return b"".join(parts)


def _set_pixel_format(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Depth, colours and components, as the headers of JPEG and PNG tell them."""
    parts = _segments(content)
    for index, part in enumerate(parts):
        if part[4:8] == b"IHDR":
            chosen = (draw.choice((1, 2, 4, 8, 16)), draw.choice((0, 2, 3, 4, 6)), 0, 0, draw.choice((0, 1)))
            parts[index] = part[:16] + bytes(chosen) + part[21:]
        elif part[:2] in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"):
            factors = draw.choice((0x11, 0x22, 0x41, 0x14, 0x44, 0x13, 0x00))
            kind = draw.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9))
            parts[index] = b"\xff" + bytes([kind]) + part[2:11] + bytes([factors]) + part[12:]
    return b"".join(parts)


def _trail(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return content + draw.choice((draw.randbytes(500), b"\0" * 5000, b"\xff\xd9", content, draw.choice(others)))


def _lead(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return draw.choice((b"\0", b"\xff", b"\xff\xd8", b"\n", _PNG_SIGNATURE)) + content


_MUTATIONS: dict[str, Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = {
    "bits flipped": _flip_bits,
    "bytes overwritten": _overwrite,
    "cut off": _cut_off,
    "bytes cut out": _cut_out,
    "segment repeated": _repeat_segment,
    "segment dropped": _drop_segment,
    "segments shuffled": _swap_segments,
    "segment of another file": _splice,
    "length": _set_length,
    "dimensions": _set_dimensions,
    "pixel format": _set_pixel_format,
    "something behind": _trail,
    "something before": _lead,
}
