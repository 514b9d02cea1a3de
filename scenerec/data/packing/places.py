"""What is known of scenes beside their names: indoors or outdoors, and categories, from files beside the images."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

from scenerec.data.manifest import Place
from scenerec.data.packing.image_lists import CSV_COLUMNS
from scenerec.data.packing.lists import csv_cells, csv_rows, has_columns, text_lines
from scenerec.data.packing.raw_set import RawSet
from scenerec.errors import DataError
from scenerec.names import clean

PLACES_FILE = "places.csv"
COLUMNS = ("class", "indoor_outdoor", "category")
LEVELS_SEPARATOR = " > "

LEVEL_1: dict[str, Literal["indoor", "outdoor"]] = {
    "indoor": "indoor",
    "outdoor, natural": "outdoor",
    "outdoor, man-made": "outdoor",
}
"""The widest categories of the scene hierarchy of SUN and Places365, as its columns are headed."""

_OFFICIAL = {
    "places365": ("IO_places365.txt", "scene_hierarchy_places365.csv", "Scene hierarchy - Places365.csv"),
    "sun397": ("three_levels.csv", "hierarchy_three_levels/three_levels.csv"),
}
_INDOOR_OUTDOOR: dict[str, Literal["indoor", "outdoor"]] = {"1": "indoor", "2": "outdoor"}
_MARKS = {"": False, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}

Entry = tuple[str, str, Place]
"""Where it stands ("FILE, line 3"), the class as the file names it, and what the file says of it."""


def read_places(raw: RawSet) -> dict[str, Place]:
    """What the files of a data set say of its classes, by class name; only classes of which they say anything.

    These are Places365's IO_places365.txt and its scene hierarchy as a CSV file, SUN397's hierarchy (the sheet SUN397
    of three_levels.xlsx, saved as three_levels.csv), and in any layout places.csv, whose word goes before the others'.

    Raises DataError for a file that is malformed, and for an entry of a class that is not in the set.
    """
    readers: list[tuple[Path, Callable[[Path], Iterator[Entry]]]] = [
        (raw.root / name, read_hierarchy if name.endswith(".csv") else read_indoor_outdoor)
        # IO_places365.txt comes last: it decides where the hierarchy puts a class in both worlds.
        for name in reversed(_OFFICIAL.get(raw.layout, ()))
    ]
    tables = (raw.root / raw.inner / PLACES_FILE, raw.root / PLACES_FILE)
    if table := next(filter(_is_places_file, tables), None):
        readers.append((table, read_table))
    places: dict[str, Place] = {}
    for path, read in readers:
        if path.is_file():
            for name, place in _of_classes(read(path), raw.classes).items():
                known = places.get(name, Place())
                places[name] = Place(
                    indoor_outdoor=place.indoor_outdoor or known.indoor_outdoor,
                    category=place.category or known.category,
                )
    return {name: places[name] for name in raw.classes if places.get(name, Place()) != Place()}


def read_indoor_outdoor(path: Path) -> Iterator[Entry]:
    """IO_places365.txt: `/a/airfield 2`, where 1 is indoors and 2 outdoors."""
    for where, (name, number) in text_lines(path, 2):
        if number not in _INDOOR_OUTDOOR:
            raise DataError(f"{where}: {number!r} is neither 1 (indoors) nor 2 (outdoors)")
        yield where, name, Place(indoor_outdoor=_INDOOR_OUTDOOR[number])


def read_hierarchy(path: Path) -> Iterator[Entry]:
    """The spreadsheet of the scene hierarchy: `'/a/airfield',0,0,1,...`, a column of 0 and 1 for each category.

    A class may be in several categories of a level. Those of the first level come first, each level in the order of
    the columns; a class both indoors and outdoors is of neither.
    """
    rows = csv_cells(path)
    categories = _headings(path, rows)
    for where, cells in rows:
        name = cells[0].strip().strip("'")
        if not name:
            if any(cell.strip() for cell in cells):
                raise DataError(f"{where}: names no class")
            continue
        marked = []
        for column, category in categories.items():
            cell = cells[column].strip() if column < len(cells) else ""
            if cell.lower() not in _MARKS:
                raise DataError(f"{where}: {cell!r} under `{category}` is neither 0 nor 1")
            if _MARKS[cell.lower()]:
                marked.append(category)
        widest = [category for category in marked if category in LEVEL_1]
        worlds = {LEVEL_1[category] for category in widest}
        further = [category for category in marked if category not in LEVEL_1]
        yield (
            where,
            name,
            Place(indoor_outdoor=worlds.pop() if len(worlds) == 1 else None, category=(*widest, *further)),
        )


def read_table(path: Path) -> Iterator[Entry]:
    """places.csv: the columns class, indoor_outdoor and category, of which either of the last two may be missing.

    Levels of a category stand apart by `>` or, where there is none, by `/`.
    """
    for where, row in csv_rows(path, {"class": ()}):
        if not (name := row["class"].strip()):
            raise DataError(f"{where}: class is empty")
        side = row.get("indoor_outdoor", "").strip().lower()
        if side not in ("", "indoor", "outdoor"):
            raise DataError(
                f"{where}: indoor_outdoor {side!r}: write indoor, outdoor, or nothing where it may be either"
            )
        text = row.get("category", "").strip()
        levels = tuple(level.strip() for level in text.split(">" if ">" in text else "/")) if text else ()
        if not all(levels):
            raise DataError(
                f"{where}: category {text!r} has an empty level: write such as nature{LEVELS_SEPARATOR}water"
            )
        yield where, name, Place(indoor_outdoor=cast(Literal["indoor", "outdoor"], side) or None, category=levels)


def write_places(path: Path, places: Mapping[str, Place]) -> None:
    """Writes a places.csv, which `read_table` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, place in places.items():
            writer.writerow((name, place.indoor_outdoor or "", LEVELS_SEPARATOR.join(place.category)))


def _of_classes(entries: Iterable[Entry], classes: Iterable[str]) -> dict[str, Place]:
    """By the set's names. Raises DataError for a class that is not in the set, or that stands twice."""
    known = set(classes)
    found: dict[str, Place] = {}
    for where, written, place in entries:
        name = clean(written).strip("/")
        if name not in known and name[1:2] == "/" and name[2:3].lower() == name[:1].lower():
            name = name[2:]  # a/abbey, of a set whose classes go without the alphabet's folders
        if name not in known:
            raise DataError(f"{where}: class `{written}` is not in the data set: correct its name, or remove the line")
        if name in found:
            raise DataError(f"{where}: class `{written}` stands twice: remove one")
        found[name] = place
    return found


def _headings(path: Path, rows: Iterator[tuple[str, list[str]]]) -> dict[int, str]:
    """The category of each column; takes the lines up to that of the headings."""
    for _, cells in rows:
        headings = [" ".join(cell.split()) for cell in cells]
        if set(headings[1:]) >= set(LEVEL_1):
            return {column: heading for column, heading in enumerate(headings) if column and heading}
    wanted = "; ".join(LEVEL_1)
    raise DataError(f"{path}: no line heads the columns {wanted}: export the spreadsheet with its headings")


def _is_places_file(path: Path) -> bool:
    """A list of images may have the same name."""
    return path.is_file() and not has_columns(path, CSV_COLUMNS)
