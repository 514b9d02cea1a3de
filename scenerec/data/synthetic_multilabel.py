"""Drawn pictures of several scenes side by side, and a list of what is on each: a small multi-label set."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from scenerec.data.labels import SEPARATOR
from scenerec.data.synthetic import JPEG_QUALITY, check_drawing, draw_scene
from scenerec.data.synthetic_scenes import SCENES
from scenerec.errors import StorageError

LABELS_FILE = "labels.csv"
"""The list of the pictures: path, labels, split."""
_SHARES = (0.1, 0.35, 0.35, 0.2)
"""Share of the pictures that show no scene, one, two, three."""


def draw_collages(
    folder: Path,
    classes: int = 6,
    train: int = 720,
    val: int = 180,
    size: int = 96,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, ...]:
    """Writes `train/00000.jpg` and `val/00000.jpg`, squares of `size` pixels, and labels.csv.

    A picture shows up to three scenes in stripes side by side; one without any is noise, and has no label.

    Returns the class names. `on_progress` is called with the images drawn and all. Raises DataError for a folder that
    is not empty and for a number out of range, StorageError for one that is full.
    """
    limits = {"classes": (classes, 2, len(SCENES)), "train": (train, 1, 10**6), "val": (val, 1, 10**6)}
    check_drawing(folder, {**limits, "size": (size, 16, 1024), "seed": (seed, 0, 2**32 - 1)})
    names = tuple(sorted(tuple(SCENES)[:classes]))
    rows, done = [], 0
    for split_index, (split, count) in enumerate((("train", train), ("val", val))):
        (folder / split).mkdir(parents=True)
        for index in range(count):
            rng = np.random.default_rng((seed, split_index, index))
            shown = rng.permutation(names)[: min(rng.choice(len(_SHARES), p=_SHARES), classes)].tolist()
            path = f"{split}/{index:05d}.jpg"
            try:
                _collage(shown, size, rng).save(folder / path, quality=JPEG_QUALITY)
            except OSError as error:
                raise StorageError(f"{folder}: cannot be written to: {error.strerror}") from None
            rows.append((path, SEPARATOR.join(sorted(shown)), split))
            done += 1
            on_progress(done, train + val)
    with (folder / LABELS_FILE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "labels", "split"), *rows])
    return names


def _collage(scenes: list[str], size: int, rng: np.random.Generator) -> Image.Image:
    if not scenes:
        return Image.fromarray(rng.normal(rng.uniform(60, 200), 20, (size, size, 3)).clip(0, 255).astype(np.uint8))
    picture = Image.new("RGB", (size, size))
    edges = np.linspace(0, size, len(scenes) + 1).round().astype(int).tolist()
    for scene, left, right in zip(scenes, edges, edges[1:], strict=False):
        picture.paste(draw_scene(scene, size, rng).crop((left, 0, right, size)), (left, 0))
    return picture
