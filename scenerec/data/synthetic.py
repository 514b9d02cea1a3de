"""Drawn scenes: an ImageFolder to try everything with, learnable in a few epochs, the same bytes for the same seed."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from scenerec.data.packing.places import PLACES_FILE, write_places
from scenerec.data.synthetic_canvas import Canvas
from scenerec.data.synthetic_coordinates import (
    COORDINATES_FILE,
    DrawnCoordinates,
    LocatedFile,
    draw_coordinates,
    located_scenes,
    write_coordinates,
)
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
    coordinates: DrawnCoordinates = "none",
) -> tuple[str, ...]:
    """Writes `train/CLASS/00000.jpg` and `val/CLASS/00000.jpg`, squares of `size` pixels, and places.csv.

    With `coordinates` also coordinates.csv, for `scenerec data pack --coordinates`. Of `place`, each scene is in two
    classes (`beach_north`, `beach_south`) whose pictures are drawn alike: only where they were taken tells them apart.
    Of `noise`, the classes are the scenes, and coordinates tell nothing.

    Returns the class names. `on_progress` is called with the images drawn and all. Raises DataError for a folder that
    is not empty and for a number out of range, StorageError for one that is full.
    """
    scenes = located_scenes(classes) if coordinates == "place" else {name: name for name in tuple(SCENES)[:classes]}
    most = len(SCENES) * (2 if coordinates == "place" else 1)
    limits = {"classes": (classes, 2, most), "train_per_class": (train_per_class, 1, 10**5)}
    limits |= {"val_per_class": (val_per_class, 1, 10**5), "size": (size, 16, 1024), "seed": (seed, 0, 2**32 - 1)}
    check_drawing(folder, limits)
    if len(scenes) < classes:
        raise DataError(f"classes: {classes} is odd: scenes that look alike come in pairs")
    rows: list[LocatedFile] = []
    total = classes * (train_per_class + val_per_class)
    done = 0
    for split_index, (split, count) in enumerate((("train", train_per_class), ("val", val_per_class))):
        for class_index, (name, scene) in enumerate(scenes.items()):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(count):
                draw = (seed, split_index, class_index, index)
                image = draw_scene(scene, size, np.random.default_rng(draw))
                try:
                    image.save(target / f"{index:05d}.jpg", quality=JPEG_QUALITY)
                except OSError as error:
                    raise StorageError(f"{target}: cannot be written to: {error.strerror}") from None
                if coordinates != "none":
                    drawn = draw_coordinates(name if coordinates == "place" else None, draw)
                    rows.append(LocatedFile(f"{split}/{name}/{index:05d}.jpg", *drawn))
                done += 1
                on_progress(done, total)
    write_places(folder / PLACES_FILE, {name: PLACES[scene] for name, scene in sorted(scenes.items())})
    if rows:
        write_coordinates(folder / COORDINATES_FILE, rows)
    return tuple(sorted(scenes))


def check_drawing(folder: Path, limits: Mapping[str, tuple[int, int, int]]) -> None:
    """Raises DataError for a folder that is not empty, and for a number (value, lowest, highest) out of range."""
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise DataError(f"{name}: {value} is not from {low} to {high}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is not empty: choose a new folder")


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
