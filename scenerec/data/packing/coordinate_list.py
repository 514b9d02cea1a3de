"""Coordinates of images from a table: `file,latitude,longitude,time`. No message says what a row holds, but where."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from scenerec.data.coordinates import Coordinates, are_swapped, given_coordinates, parse_degrees
from scenerec.data.packing.lists import csv_rows
from scenerec.data.packing.raw_set import RawImage, RawSet
from scenerec.errors import DataError
from scenerec.names import clean, few, shortened

COLUMNS = {
    "file": ("path", "image", "img", "filename", "key", "id"),
    "latitude": ("lat",),
    "longitude": ("lon", "lng", "long"),
}
"""The columns that a table of coordinates must have, each with the other names that it goes by."""
_SHOWN_FILES = 4


def row_coordinates(where: str, row: Mapping[str, str]) -> Coordinates | None:
    """The coordinates in a row of a table; None where latitude and longitude are empty, or it has no such columns.

    Raises DataError, which names the row and the column, for what is not possible.
    """
    found = {
        name: [row[each] for each in (name, *COLUMNS.get(name, ())) if each in row] for name in Coordinates._fields
    }
    if not found["latitude"] and not found["longitude"]:
        return None  # a time of whatever meaning may stand in any list
    try:
        latitude, longitude, time = (values[0] if values else None for values in found.values())
        return given_coordinates(latitude, longitude, time)
    except ValueError as error:
        raise DataError(f"{where}: {error}: correct it, or leave all empty if unknown") from None


def locate(raw: RawSet, table: Path, strict: bool = True) -> RawSet:
    """The set with the coordinates that a table has for its images; a row names an image by its path, or by its end.

    What was found is among the set's remarks. Raises DataError for an impossible row, for one that stands twice, for
    one of an image that is not there (where not `strict`, it is counted), and where no image has any.
    """
    images = [image for found in raw.splits.values() for image in found]
    if any(image.coordinates for image in images):
        raise DataError(f"{table}: the list of images has coordinates itself: leave --coordinates out")
    _refuse_swapped(table)
    find, lines, found = _finder(images), dict[str, str](), dict[str, Coordinates]()
    absent, doubtful, unused = list[str](), list[str](), 0
    for where, row in csv_rows(table, COLUMNS):
        coordinates, line = row_coordinates(where, row), where.rpartition(", ")[2]
        path = find(where, row["file"])
        if path is None:
            if strict and not (raw.root / _relative(row["file"])).is_file():
                absent.append(f"{row['file']} ({line})")
            unused += 1
            continue
        if path in lines:
            raise DataError(f"{where}: {shortened(path)} stands twice, first in {lines[path]}: remove one")
        lines[path] = line
        if coordinates:
            found[path] = coordinates
            doubtful += [line] if coordinates.is_null_island else []
    if absent:
        raise DataError(f"{table}: not in {raw.root}: {few(absent, _SHOWN_FILES)}: correct these rows, or remove them")
    if not found:
        raise DataError(f"{table}: has coordinates of none of the {len(images)} images in {raw.root}: fill it in")
    remarks = [f"coordinates of {len(found)} of {len(images)} images, from {table.name}"]
    if unused:
        remarks.append(f"{unused} rows of {table.name} are of images that are not packed")
    if doubtful:
        what = "image is" if len(doubtful) == 1 else "images are"
        remarks.append(
            f"warning: {len(doubtful)} {what} at 0, 0, where programs put what they do not know, such as "
            f"{doubtful[0]} of {table.name}: leave that empty if so"
        )
    splits = {
        split: tuple(replace(image, coordinates=found.get(image.path)) for image in of_split)
        for split, of_split in raw.splits.items()
    }
    return replace(raw, splits=splits, remarks=(*raw.remarks, *remarks))


def _refuse_swapped(table: Path) -> None:
    """Raises DataError for a table most of whose rows are degrees only with its columns exchanged."""
    counts: Counter[bool] = Counter()
    for _, row in csv_rows(table, COLUMNS):
        with suppress(ValueError):  # of which its own row is told
            counts[are_swapped(*(parse_degrees(name, row[name]) for name in ("latitude", "longitude")))] += 1
    if counts[True] > counts[False]:
        raise DataError(
            f"{table}: latitude and longitude are swapped: {counts[True]} of {counts.total()} rows are degrees only "
            "the other way round: exchange the names of the columns"
        )


def _finder(images: Iterable[RawImage]) -> Callable[[str, str], str | None]:
    """What finds the path of the image that a row means: given where the row stands, and the name in it."""
    paths = {image.path for image in images}
    by_name: dict[str, list[str]] = {}

    def find(where: str, name: str) -> str | None:
        name = _relative(name)
        if not name:
            raise DataError(f"{where}: file is empty")
        if name in paths:
            return name
        if not by_name:
            for path in paths:
                last = path.rpartition("/")[2]
                for key in {clean(last), clean(_without_suffix(last))}:
                    by_name.setdefault(key, []).append(path)
        ends = [path for path in by_name.get(clean(name.rpartition("/")[2]), ()) if _ends_with(path, name)]
        if len(ends) > 1:
            raise DataError(f"{where}: {shortened(name)} may be {few(sorted(ends), 2)}: write its whole path")
        return ends[0] if ends else None

    return find


def _relative(name: str) -> str:
    """The path in a row as those of images are written."""
    return name.strip().replace("\\", "/").removeprefix("./").lstrip("/")


def _ends_with(path: str, name: str) -> bool:
    """Whether a path ends with these folders and this name, with or without its suffix."""
    ends, name = (clean(path), clean(_without_suffix(path))), clean(name)
    return any(end == name or end.endswith(f"/{name}") for end in ends)


def _without_suffix(path: str) -> str:
    stem, _, suffix = path.rpartition(".")
    return stem if stem and "/" not in suffix else path
