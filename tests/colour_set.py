"""A packed set for `tests.tiny_bundle`: noise in which one colour is stronger, and some images in the wrong class."""

from pathlib import Path

import numpy as np
from PIL import Image

from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions

CLASSES = ("a/red", "b/green", "c/blue")
PER_CLASS = 10
WRONG = 2
"""Images of `a/red` that are green."""


def pack_colours(folder: Path, classes: tuple[str, ...] = CLASSES, coordinates: bool = False) -> str:
    """Draws 10 PNGs of each class into `folder` and packs them into several shards; returns the set's address.

    With `coordinates`, those that are wrong have some by which a tiny bundle that takes them takes them for red.
    """
    rng = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (folder / "images" / name).mkdir(parents=True)
        for index in range(PER_CLASS):
            height, width = rng.integers(12, 24, 2)
            pixels = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
            channel = 1 if label == 0 and index < WRONG else label
            pixels[:, :, channel] += rng.integers(10, 100, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{index:02}.png")
    packed, table = str(folder / "packed"), folder / "coordinates.csv"
    rows = [f"{classes[0]}/{index:02}.png,1,1,2023-07-02\n" for index in range(WRONG)]
    table.write_text("".join(["file,latitude,longitude,time\n", *rows]))
    request = PackRequest(
        source=folder / "images",
        destination=packed,
        nested="path",
        coordinates=table if coordinates else None,
        options=PackOptions(shard_mb=0.012),
    )
    pack(request)
    return packed
