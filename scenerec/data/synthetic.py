"""Drawn scenes: an ImageFolder to try everything with, learnable in a few epochs, the same bytes for the same seed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from scenerec.data.packing.places import PLACES_FILE, write_places
from scenerec.data.synthetic_canvas import Canvas
from scenerec.data.synthetic_scenes import PLACES, SCENES
from scenerec.errors import DataError, StorageError

SUPERSAMPLING = 2
JPEG_QUALITY = 88


def draw_scenes(
    folder: Path,
    classes: int = 6,
    train_per_class: int = 120,
    val_per_class: int = 30,
    size: int = 96,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, ...]:
    """Writes `train/CLASS/00000.jpg` and `val/CLASS/00000.jpg`, squares of `size` pixels, and places.csv.

    Returns the class names. `on_progress` is called with the images drawn and all. Raises DataError for a folder that
    is not empty and for a number out of range, StorageError for one that is full.
    """
    limits = {"classes": (classes, 2, len(SCENES)), "train_per_class": (train_per_class, 1, 10**5)}
    limits |= {"val_per_class": (val_per_class, 1, 10**5), "size": (size, 16, 1024), "seed": (seed, 0, 2**32 - 1)}
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise DataError(f"{name}: {value} is not from {low} to {high}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is not empty: choose a new folder")
    names = tuple(SCENES)[:classes]
    total = classes * (train_per_class + val_per_class)
    done = 0
    for split_index, (split, count) in enumerate((("train", train_per_class), ("val", val_per_class))):
        for class_index, name in enumerate(names):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(count):
                image = draw_scene(name, size, np.random.default_rng([seed, split_index, class_index, index]))
                try:
                    image.save(target / f"{index:05d}.jpg", quality=JPEG_QUALITY)
                except OSError as error:
                    raise StorageError(f"{target}: cannot be written to: {error.strerror}") from None
                done += 1
                on_progress(done, total)
    write_places(folder / PLACES_FILE, {name: PLACES[name] for name in sorted(names)})
    return tuple(sorted(names))


def draw_scene(name: str, size: int, rng: np.random.Generator) -> Image.Image:
    """Draws one RGB picture of `size` x `size` pixels of the scene `name`, a key of SCENES."""
    canvas = Canvas(size * SUPERSAMPLING, rng)
    SCENES[name](canvas)
    image = canvas.image.resize((size, size), Image.Resampling.BOX)
    pixels = np.asarray(image).astype(np.float64)
    tint = rng.uniform(0.88, 1.12, 3) * rng.uniform(0.8, 1.15)  # light differs, so colour alone tells little
    pixels = pixels * tint + rng.normal(0, rng.uniform(3, 9), pixels.shape)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image
