import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

Encode = Callable[..., bytes]
WriteTree = Callable[[Mapping[str, bytes | str]], Path]


@pytest.fixture
def encode() -> Encode:
    """Encodes a smooth random picture, another for each seed."""

    def encode(
        seed: int = 0, size: tuple[int, int] = (40, 30), form: str = "JPEG", mode: str = "RGB", **save: Any
    ) -> bytes:
        corners = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, form, **save)
        return buffer.getvalue()

    return encode


@pytest.fixture
def write_tree(tmp_path: Path) -> WriteTree:
    """Writes files below a new folder, `source`."""

    def write(files: Mapping[str, bytes | str]) -> Path:
        root = tmp_path / "source"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


def photograph(
    latitude: tuple[float, ...] | None,
    longitude: tuple[float, ...] | None,
    latitude_letter: str = "N",
    longitude_letter: str = "E",
    time: str = "",
    form: str = "JPEG",
    seed: int = 0,
) -> bytes:
    """A small picture whose EXIF has degrees, minutes and seconds with their letters, and DateTimeOriginal."""
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    for tag, degrees, letter in (
        (ExifTags.GPS.GPSLatitude, latitude, latitude_letter),
        (ExifTags.GPS.GPSLongitude, longitude, longitude_letter),
    ):
        if degrees is not None:
            gps[tag], gps[tag - 1] = degrees, letter
    if time:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = time
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, form, exif=exif.tobytes())
    return buffer.getvalue()
