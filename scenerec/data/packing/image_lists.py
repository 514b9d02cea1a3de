"""Data sets that list their images: the Places365 devkit, SUN397, and CSV files."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from posixpath import normpath

from scenerec.data.class_names import check_names, without_alphabet
from scenerec.data.labels import SEPARATOR
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.coordinate_list import row_coordinates
from scenerec.data.packing.lists import class_list, csv_rows, has_columns, text_lines
from scenerec.data.packing.multilabel_lists import (
    PATH_COLUMN,
    check_is_list,
    class_columns,
    is_multilabel_list,
    labelled_rows,
)
from scenerec.data.packing.raw_set import RawImage, RawSet
from scenerec.data.packing.tree import Folder
from scenerec.data.splits import SPLITS, find_splits, split_of
from scenerec.errors import DataError
from scenerec.names import clean, few, printable

CSV_COLUMNS = {**PATH_COLUMN, "label": ("class", "category")}
"""The columns that a list of images must have, each with the other names that it goes by, as on Kaggle."""
PROBED_LINES = 50
"""Lines of a list that are tried to find the folder that it speaks of."""
_SHOWN_FILES = 4


def places_lists(source: Path) -> dict[str, Path]:
    """The devkit's lists by split, empty where `source` is no devkit. `standard` goes before `challenge`."""
    if not (source / "categories_places365.txt").is_file():
        return {}
    trains = [source / f"places365_train_{variant}.txt" for variant in ("standard", "challenge")]
    train = next((path for path in trains if path.is_file()), None)
    val = source / "places365_val.txt"
    return ({"train": train} if train else {}) | ({"val": val} if val.is_file() else {})


def sun_lists(source: Path) -> dict[str, Path]:
    """SUN397's lists by name (`Training_01`), in `source` or its Partitions/; empty where it is no SUN397."""
    for folder in (source, source / "Partitions"):
        if (folder / "ClassName.txt").is_file():
            lists = sorted(folder.glob("T*ing_[0-9][0-9].txt"))
            return {path.stem: path for path in lists if path.is_file()}
    return {}


def csv_lists(source: Folder) -> list[str]:
    """Names of the CSV files in a folder that have the columns path and label, or those of several labels."""
    tables = [name for name in source.files if name.lower().endswith(".csv")]
    return [name for name in tables if is_list(source.location / name)]


def is_list(table: Path) -> bool:
    """Whether a table lists images with their label or labels; one that cannot be read does not."""
    try:
        return has_columns(table, CSV_COLUMNS) or is_multilabel_list(table)
    except DataError:
        return False


def read_places(folder: Folder, choices: Choices) -> RawSet:
    """The Places365 devkit: lists of `/a/airfield/00000001.jpg 0`, images in data_large/, val_256/ ..."""
    source = folder.location
    classes = tuple(class_list(source / "categories_places365.txt").values())
    splits, origins = {}, {}
    for split, path in places_lists(source).items():
        if not choices.wants(split):
            continue
        root = _image_folder(folder, path, 2, split)
        images = []
        for where, (image, label) in text_lines(path, 2):
            index = _label(where, label)
            if index >= len(classes):
                raise DataError(f"{where}: label {index} is out of range, there are {len(classes)} classes")
            images.append(RawImage(root + image.lstrip("/"), classes[index]))
        splits[split], origins[split] = tuple(images), path.name
    return RawSet("places365", source, classes, splits, origins)


def read_sun(folder: Folder, choices: Choices) -> RawSet:
    """SUN397: ClassName.txt, and Training_01.txt of `/a/abbey/sun_xxx.jpg`; Testing becomes val."""
    source = folder.location
    lists = sun_lists(source)
    beside = next(iter(lists.values())).parent if lists else source
    class_names = class_list(beside / "ClassName.txt")
    splits, origins = {}, {}
    for split, kind in (("train", "Training"), ("val", "Testing")):
        if not choices.wants(split):
            continue
        path = lists.get(f"{kind}_{choices.partition:02d}")
        if path is None:
            there = ", ".join(name.removeprefix(f"{kind}_") for name in lists if name.startswith(kind)) or "none"
            raise DataError(
                f"{source}: no partition {choices.partition}: {kind}_{choices.partition:02d}.txt is missing; "
                f"there: {there}"
            )
        root = _image_folder(folder, path, 1, split)
        images = []
        for where, (image,) in text_lines(path, 1):
            name = clean(image.rpartition("/")[0]).lstrip("/")
            if name not in class_names:
                raise DataError(f"{where}: class `{printable(name)}` is not in ClassName.txt")
            images.append(RawImage(root + image.lstrip("/"), class_names[name]))
        splits[split], origins[split] = tuple(images), path.name
    return RawSet("sun397", source, tuple(class_names.values()), splits, origins)


def read_csv(source: Folder | Path, choices: Choices) -> RawSet:
    """Columns path (relative to the CSV) and label (see CSV_COLUMNS), and perhaps split, latitude, longitude and time.

    In place of label those of several labels (`scenerec.data.packing.multilabel_lists`). Of a folder the only such
    file, or one for each split: train.csv and val.csv.
    """
    files = {source: None} if isinstance(source, Path) else _csv_of_splits(source, choices)
    is_multilabel = not has_columns(next(iter(files)), CSV_COLUMNS) and is_multilabel_list(next(iter(files)))
    if not is_multilabel and not has_columns(next(iter(files)), CSV_COLUMNS):
        check_is_list(next(iter(files)))
    splits: dict[str, list[RawImage]] = {}
    origins: dict[str, str] = {}
    unseen: set[str] = set()
    for path, own_split in files.items():
        for split, image in _csv_images(path, own_split, is_multilabel):
            splits.setdefault(split, []).append(image)
            origins[split] = path.name
        unseen |= set(class_columns(path)) if is_multilabel else set()
    if not splits:
        raise DataError(f"{', '.join(map(str, files))}: no rows")
    if is_multilabel:
        splits = {split: _with_all_labels(images) for split, images in splits.items()}
    labels = sorted({name for images in splits.values() for image in images for name in image.names} | unseen)
    names = dict(zip(labels, without_alphabet(labels), strict=True))
    classes = tuple(sorted(set(names.values())))
    root = next(iter(files)).parent
    if not classes:
        raise DataError(f"{', '.join(map(str, files))}: no image has a label")
    try:
        check_names(classes)
    except ValueError as error:
        raise DataError(f"{root}: {error}") from None
    ordered = {
        split: tuple(_renamed(image, names) for image in splits[split])
        for split in SPLITS
        if split in splits and choices.wants(split)
    }
    remarks = () if is_multilabel else _joined_labels(classes)
    return RawSet("csv", root, classes, ordered, origins, remarks=remarks, is_multilabel=is_multilabel)


def _joined_labels(classes: Sequence[str]) -> tuple[str, ...]:
    """A remark where classes look as if several labels had been written into one."""
    joined = [name for name in classes if SEPARATOR in name]
    if not joined:
        return ()
    which = few(joined, _SHOWN_FILES)
    return (f"classes with `{SEPARATOR}` in their names ({which}): for several labels an image call the column labels",)


def _with_all_labels(images: Iterable[RawImage]) -> list[RawImage]:
    """One for each path, in the order of the list: an image that stands in several rows has the labels of all.

    The path is the first row's, however others write it (`./a.jpg`).
    """
    found: dict[str, RawImage] = {}
    for image in images:
        path = normpath(image.path)
        first = found.setdefault(path, image)
        if first is not image:
            labels = tuple(dict.fromkeys((*first.names, *image.names)))
            found[path] = replace(first, labels=labels, coordinates=first.coordinates or image.coordinates)
    return list(found.values())


def _renamed(image: RawImage, names: Mapping[str, str]) -> RawImage:
    if image.labels is None:
        return replace(image, class_name=names[image.class_name])
    return replace(image, labels=tuple(sorted({names[label] for label in image.labels})))


def _csv_of_splits(folder: Folder, choices: Choices) -> dict[Path, str | None]:
    """The lists of a folder, each with its split; one alone may have a column for that."""
    if choices.splits:
        for split, name in choices.splits.items():
            if name not in folder.files:
                raise DataError(f"--splits {split}={name}: there is no such file in {folder.location}")
        return {folder.location / name: split for split, name in choices.splits.items()}
    names = csv_lists(folder)
    if not names:
        raise DataError(f"{folder.location}: no CSV file with the columns path and label: give the file itself")
    if len(names) == 1:
        return {folder.location / names[0]: None}
    splits = find_splits(name.removesuffix(".csv") for name in names)
    by_split = {split: f"{name}.csv" for name, split in splits.items()}
    if len(by_split) < len(names):
        stated = ",".join(f"{split}={name}" for split, name in zip(SPLITS, names, strict=False))
        raise DataError(
            f"{folder.location}: has several lists of images ({few(names, _SHOWN_FILES)}): give the one that is meant, "
            f"say which is which split, such as --splits {stated}, or --layout imagefolder where folders are "
            "the classes"
        )
    return {folder.location / by_split[split]: split for split in SPLITS if split in by_split}


def _csv_images(path: Path, own_split: str | None, is_multilabel: bool) -> Iterator[tuple[str, RawImage]]:
    """The images of a list, each with its split."""
    for where, row, labels in labelled_rows(path) if is_multilabel else _single_rows(path):
        image_path = row["path"]
        if not clean(image_path):
            raise DataError(f"{where}: path is empty")
        split = split_of(row["split"]) if "split" in row else own_split or "train"
        if split is None:
            raise DataError(f"{where}: unknown split `{printable(row['split'])}`: use {', '.join(SPLITS)}")
        if own_split not in (None, split):
            raise DataError(f"{where}: split {split} in the list of {own_split}: correct the line, or move it")
        coordinates = row_coordinates(where, row)
        if is_multilabel:
            yield split, RawImage(image_path, "", coordinates, labels)
        else:
            yield split, RawImage(image_path, labels[0], coordinates)


def _single_rows(path: Path) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    """Where each row stands, its values by column, and its label."""
    for where, row in csv_rows(path, CSV_COLUMNS):
        label = clean(row["label"])
        if clean(row["path"]) and not label:
            raise DataError(f"{where}: label is empty")
        yield where, row, (label,)


def _image_folder(source: Folder, listing: Path, fields: int, split: str) -> str:
    """Where a list's paths start from, found by looking: "" for `source` itself, or "data_large/"."""
    root = source.location
    probes = [words[0].lstrip("/") for _, words in islice(text_lines(listing, fields), PROBED_LINES)]
    # Of several, the one with the full-size pictures: data_large before data_256.
    names = sorted((folder.name for folder in source.folders), key=lambda name: ("large" not in name, name))
    prefixes = ["", *(f"{name}/" for name in names)]
    best = max(prefixes, key=lambda prefix: sum((root / prefix / probe).is_file() for probe in probes))
    if not any((root / best / probe).is_file() for probe in probes):
        example = probes[0] if probes else "any image"
        raise DataError(
            f"{listing}: {printable(example)} is neither in {root} nor in a folder of it: "
            f"unpack the images of {split} there, or choose another --split"
        )
    return best


def _label(where: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise DataError(f"{where}: label {text!r} is not a class index")
    return int(text)
