"""Where drawn scenes were taken: in regions that tell scenes apart that look alike, or anywhere."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from scenerec.data.synthetic_scenes import SCENES

COORDINATES_FILE = "coordinates.csv"

DrawnCoordinates = Literal["none", "place", "noise"]
"""Whether drawn scenes have coordinates: those of their class's region (`place`), or of anywhere (`noise`)."""


class LocatedFile(NamedTuple):
    """A row of coordinates.csv."""

    file: str
    """Path from the folder of the data set."""
    latitude: float
    longitude: float
    time: str
    """An ISO date."""


REGIONS = {"north": (52, 15), "south": (-32, 20), "pacific": (-12, 178), "atlantic": (8, -35)}
"""Latitude and longitude of each region's middle, in pairs. One lies across the date line."""
SPREAD_DEGREES = (6, 10)
"""Standard deviations of latitude and longitude around it."""
_STREAM = 1  # beside that of the pictures


def located_scenes(classes: int) -> dict[str, str]:
    """The scene of each class, two regions of each scene: `beach_north`, `beach_south`, `city_pacific`, ...

    Of an odd number of classes one is missing.
    """
    regions = list(REGIONS)
    return {
        f"{scene}_{region}": scene
        for number, scene in enumerate(list(SCENES)[: classes // 2])
        for region in regions[number % 2 * 2 :][:2]
    }


def draw_coordinates(class_name: str | None, draw: Sequence[int]) -> tuple[float, float, str]:
    """Latitude and longitude of one picture of a class of `located_scenes`, or of anywhere on land and sea; and a date.

    `draw` are the numbers that the picture is drawn by.
    """
    rng = np.random.default_rng([*draw, _STREAM])
    if class_name is None:
        latitude, longitude = math.degrees(math.asin(rng.uniform(-1, 1))), rng.uniform(-180, 180)
    else:
        middle = REGIONS[class_name.rpartition("_")[2]]
        latitude, longitude = rng.normal(middle, SPREAD_DEGREES)
    date = np.datetime64("2023-01-01") + int(rng.integers(365))
    return round(min(max(latitude, -90), 90), 4), round((longitude + 180) % 360 - 180, 4), str(date)


def write_coordinates(path: Path, rows: Iterable[LocatedFile]) -> None:
    """Writes a table of coordinates, as `scenerec data pack --coordinates` takes it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LocatedFile._fields)
        writer.writerows(rows)
