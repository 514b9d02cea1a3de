"""A packed multi-label set for `tests.tiny_bundle`: pictures of which any of three colours are strong, or none."""

from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions

LABELS = ("blue", "green", "red")
COPIES = 3
IMAGES = COPIES * 8


def pack_labelled_colours(folder: Path) -> str:
    """Draws each combination of colours three times and packs them into several shards; returns the set's address."""
    (folder / "images").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for index, colours in enumerate(product((0, 1), repeat=3)):
        for copy in range(COPIES):
            size = rng.integers(12, 24, 2)
            pixels = np.stack([rng.integers(150, 250, size) if on else rng.integers(0, 20, size) for on in colours], 2)
            path = f"{index}-{copy}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / path)
            shown = [name for name, on in zip(("red", "green", "blue"), colours, strict=True) if on]
            rows.append(f"{path},{';'.join(shown)}\n")
    table = folder / "images" / "labels.csv"
    table.write_text("".join(["path,labels\n", *rows]))
    packed = str(folder / "packed")
    pack(PackRequest(source=table, destination=packed, options=PackOptions(shard_mb=0.012)))
    return packed
