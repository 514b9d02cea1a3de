import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
