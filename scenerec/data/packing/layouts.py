"""How raw data sets lie on disk: each reader lists the images of one layout and opens none of them."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from scenerec.errors import DataError

SPLITS = ("train", "val", "test")
FOREIGN_SPLITS = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}
PROBED_LINES = 50
"""Lines of a list that are tried to find the folder that it speaks of."""


@dataclass(frozen=True, slots=True)
class RawImage:
    """A file that a data set calls an image."""

    path: str
    """Path relative to the root of the set, with forward slashes."""
    class_name: str
    latitude: float | None = None
    """Degrees north."""
    longitude: float | None = None
    """Degrees east."""


@dataclass(frozen=True)
class RawSet:
    """A data set as it lies on disk before it is packed: its images, listed."""

    layout: str
    root: Path
    classes: tuple[str, ...]
    """Class names in order of class index."""
    splits: dict[str, tuple[RawImage, ...]]
    strays: tuple[str, ...] = ()
    """Files that belong to no class, relative to the root."""


def read_raw_set(source: Path, layout: str = "auto", split: str = "all", partition: int = 1) -> RawSet:
    """Lists the images of `split` (`train`, `val`, `test`, or `all` there are) of the data set at `source`.

    `partition` chooses one of the ten partitions of SUN397. Raises DataError for a source that no layout fits, a split
    that it does not have, a malformed list, and a class that has no image in a split.
    """
    name = detect(source) if layout == "auto" else layout
    if name not in READERS:
        raise DataError(f"layout: there is no `{name}`: choose auto, {', '.join(READERS)}")
    wanted = SPLITS if split == "all" else (split,)
    found = READERS[name](source, wanted, partition)
    if split != "all" and split not in found.splits:
        raise DataError(f"{source}: there is no split `{split}` in this {name} data set: choose another --split")
    for split_name, images in found.splits.items():
        present = {image.class_name for image in images}
        if empty := [class_name for class_name in found.classes if class_name not in present]:
            more = f" (nor have {len(empty) - 1} others)" if len(empty) > 1 else ""
            problem = f"class `{empty[0]}` has no image in {split_name}{more}"
            raise DataError(f"{source}: {problem}: add some, remove it, or choose --split")
    return found


def detect(source: Path) -> str:
    """Finds the name of the layout of `source`. Raises DataError where none fits."""
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.is_file():
        if source.suffix.lower() == ".csv":
            return "csv"
        raise DataError(f"{source}: not a data set: give a folder, or a CSV file with the columns path and label")
    if _places_lists(source):
        return "places365"
    if _sun_lists(source):
        return "sun397"
    if _folder_csv(source):
        return "csv"
    if any(files for folder, files, _ in _walk(source) if folder):
        return "imagefolder"
    raise DataError(
        f"{source}: no known layout: expected CLASS/IMAGE or train/CLASS/IMAGE, the Places365 devkit "
        "(categories_places365.txt), SUN397 (ClassName.txt, Training_01.txt) or a CSV with path and label"
    )


def _read_imagefolder(source: Path, wanted: Iterable[str], partition: int) -> RawSet:
    """`CLASS/IMAGE`, or that below `train/`, `val/` and `test/`. Classes may nest: `market/indoor`."""
    folders = _folders(source)
    known = [name for name in folders if name in SPLITS]
    foreign = [name for name in folders if name in FOREIGN_SPLITS]
    if known and len(known) == len(folders):
        roots = {name: name for name in SPLITS if name in known}
    elif len(known) + len(foreign) > 1 and foreign:
        remedy = f"rename it to {FOREIGN_SPLITS[foreign[0]]}"
        raise DataError(f"{source / foreign[0]}: not a split's name: {remedy}; known are {', '.join(SPLITS)}")
    elif len(known) > 1:
        other = next(name for name in folders if name not in SPLITS)
        raise DataError(f"{source / other}: a folder beside {known[0]}/ and {known[1]}/ that is no split: move it away")
    else:
        roots = {"train": ""}
    files: dict[str, dict[str, list[str]]] = {}
    strays = []
    for split, root in roots.items():
        files[split] = {}
        for folder, names, leaf in _walk(source / root):
            if folder and (names or leaf):
                files[split][folder] = names
            elif not folder and root and split in wanted:
                strays += [f"{root}/{name}" for name in names]
    # The classes are those of all splits, also of the unwanted: an index must mean the same in each.
    class_names = _class_names(sorted({folder for by_class in files.values() for folder in by_class}))
    splits = {
        split: tuple(
            RawImage("/".join(filter(None, (roots[split], folder, name))), class_names[folder])
            for folder, names in by_class.items()
            for name in names
        )
        for split, by_class in files.items()
        if split in wanted
    }
    return RawSet("imagefolder", source, tuple(class_names.values()), splits, tuple(strays))


def _read_places(source: Path, wanted: Iterable[str], partition: int) -> RawSet:
    """The Places365 devkit: lists of `/a/airfield/00000001.jpg 0`, images in data_large/, val_256/ ..."""
    names: dict[int, str] = {}
    categories = source / "categories_places365.txt"
    for where, (name, label) in text_lines(categories, 2):
        names[_label(where, label)] = name
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{categories}: the class indices are not 0 to {len(names) - 1}, each once")
    class_names = _class_names([names[index] for index in range(len(names))])
    classes = tuple(class_names.values())
    splits = {}
    for split, path in _places_lists(source).items():
        if split not in wanted:
            continue
        folder = _image_folder(source, path, split)
        images = []
        for where, (image, label) in text_lines(path, 2):
            index = _label(where, label)
            if index >= len(classes):
                raise DataError(f"{where}: label {index} is out of range, there are {len(classes)} classes")
            images.append(RawImage(folder + image.lstrip("/"), classes[index]))
        splits[split] = tuple(images)
    return RawSet("places365", source, classes, splits)


def _read_sun(source: Path, wanted: Iterable[str], partition: int) -> RawSet:
    """SUN397: ClassName.txt, and Training_01.txt of `/a/abbey/sun_xxx.jpg`; Testing becomes val."""
    lists = _sun_lists(source)
    folder = next(iter(lists.values())).parent if lists else source
    class_names = _class_names([name for _, (name,) in text_lines(folder / "ClassName.txt", 1)])
    splits = {}
    for split, kind in (("train", "Training"), ("val", "Testing")):
        if split not in wanted:
            continue
        path = lists.get(f"{kind}_{partition:02d}")
        if path is None:
            there = ", ".join(name.removeprefix(f"{kind}_") for name in lists if name.startswith(kind)) or "none"
            raise DataError(
                f"{source}: no partition {partition}: {kind}_{partition:02d}.txt is missing; there: {there}"
            )
        root = _image_folder(source, path, split)
        images = []
        for where, (image,) in text_lines(path, 1):
            name = image.rpartition("/")[0].lstrip("/")
            if name not in class_names:
                raise DataError(f"{where}: class `{name}` is not in ClassName.txt")
            images.append(RawImage(root + image.lstrip("/"), class_names[name]))
        splits[split] = tuple(images)
    return RawSet("sun397", source, tuple(class_names.values()), splits)


def _read_csv(source: Path, wanted: Iterable[str], partition: int) -> RawSet:
    """Columns path (relative to the CSV) and label, and perhaps latitude, longitude and split."""
    path = source if source.is_file() else _folder_csv(source)
    if path is None:
        raise DataError(f"{source}: no CSV file with the columns path and label: give the file itself")
    splits: dict[str, list[RawImage]] = {}
    for where, row in csv_rows(path, ("path", "label")):
        for column in ("path", "label"):
            if not row[column]:
                raise DataError(f"{where}: {column} is empty")
        split = row.get("split", "train")
        if split not in SPLITS:
            raise DataError(f"{where}: unknown split `{split or ''}`: use {', '.join(SPLITS)}")
        latitude, longitude = _degrees(where, row, "latitude", 90), _degrees(where, row, "longitude", 180)
        if (latitude is None) != (longitude is None):
            raise DataError(f"{where}: latitude and longitude come together or not at all")
        splits.setdefault(split, []).append(RawImage(row["path"], row["label"], latitude, longitude))
    if not splits:
        raise DataError(f"{path}: no rows")
    classes = tuple(sorted({image.class_name for images in splits.values() for image in images}))
    ordered = {split: tuple(splits[split]) for split in SPLITS if split in splits and split in wanted}
    return RawSet("csv", path.parent, classes, ordered)


READERS: dict[str, Callable[[Path, Iterable[str], int], RawSet]] = {
    "imagefolder": _read_imagefolder,
    "places365": _read_places,
    "sun397": _read_sun,
    "csv": _read_csv,
}


def text_lines(path: Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """Where each line stands ("FILE, line 3") and its first `fields` words; empty lines are skipped."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if parts := line.split():
                    if len(parts) < fields:
                        raise DataError(f"{path}, line {number}: expected {fields} fields, got {line.strip()[:60]!r}")
                    yield f"{path}, line {number}", parts[:fields]
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row stands, and its values by column. Raises DataError where one of `columns` is missing."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            for column in columns:
                if column not in (rows.fieldnames or ()):
                    raise DataError(f"{path}: no column `{column}`: the first line must name {' and '.join(columns)}")
            for row in rows:
                yield f"{path}, line {rows.line_num}", row
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text: save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: {error}") from None


def _places_lists(source: Path) -> dict[str, Path]:
    """The devkit's lists by split, empty where `source` is no devkit. `standard` goes before `challenge`."""
    if not (source / "categories_places365.txt").is_file():
        return {}
    trains = [source / f"places365_train_{variant}.txt" for variant in ("standard", "challenge")]
    train = next((path for path in trains if path.is_file()), None)
    val = source / "places365_val.txt"
    return ({"train": train} if train else {}) | ({"val": val} if val.is_file() else {})


def _sun_lists(source: Path) -> dict[str, Path]:
    """SUN397's lists by name (`Training_01`), in `source` or its Partitions/; empty where it is no SUN397."""
    for folder in (source, source / "Partitions"):
        if (folder / "ClassName.txt").is_file():
            return {path.stem: path for path in sorted(folder.glob("T*ing_[0-9][0-9].txt"))}
    return {}


def _folder_csv(source: Path) -> Path | None:
    """The only CSV file of the folder that has the columns path and label."""
    found = []
    for path in sorted(source.glob("*.csv")):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if {"path", "label"} <= set(next(csv.reader(file), ())):
                found.append(path)
    return found[0] if len(found) == 1 else None


def _image_folder(source: Path, listing: Path, split: str) -> str:
    """Where a list's paths start from, found by looking: "" for `source` itself, or "data_large/"."""
    probes = [fields[0].lstrip("/") for _, fields in islice(text_lines(listing, 1), PROBED_LINES)]
    folders = _folders(source)
    # Of several, the one with the full-size pictures: data_large before data_256.
    prefixes = ["", *(f"{name}/" for name in sorted(folders, key=lambda name: ("large" not in name, name)))]
    best = max(prefixes, key=lambda prefix: sum((source / prefix / probe).is_file() for probe in probes))
    if not any((source / best / probe).is_file() for probe in probes):
        example = probes[0] if probes else "any image"
        raise DataError(
            f"{listing}: {example} is neither in {source} nor in a folder of it: "
            f"unpack the images of {split} there, or choose another --split"
        )
    return best


def _label(where: str, text: str) -> int:
    if not text.isdecimal():
        raise DataError(f"{where}: label {text!r} is not a class index")
    return int(text)


def _degrees(where: str, row: dict[str, str], column: str, limit: int) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        degrees = float(text)
    except ValueError:
        raise DataError(f"{where}: {column} {text!r} is not a number") from None
    if not -limit <= degrees <= limit:
        raise DataError(f"{where}: {column} {text} is not between -{limit} and {limit} degrees")
    return degrees


def _class_names(folders: list[str]) -> dict[str, str]:
    """The class of each folder: without the alphabetical one of Places and SUN (`a/abbey`) if all have it."""
    paths = [folder.strip("/") for folder in folders]
    lettered = all(path[1:2] == "/" and path[2:3].lower() == path[0].lower() for path in paths)
    names = {path: path[2:] if lettered else path for path in paths}
    if len(set(names.values())) != len(paths):
        raise DataError(f"class `{next(path for path in paths if paths.count(path) > 1)}` is listed twice")
    return names


def _folders(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _walk(root: Path) -> Iterator[tuple[str, list[str], bool]]:
    """Each folder from `root` down: its relative path, its files in order, and whether it has no folders.

    Hidden files and folders are left out.
    """
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(folder).relative_to(root).as_posix()
        names = sorted(name for name in files if not name.startswith("."))
        yield "" if relative == "." else relative, names, not folders
