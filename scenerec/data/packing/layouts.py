"""How raw data sets lie on disk: finds the layout of one, and lists its images without opening any."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from scenerec.data.packing.choices import Choices, SourceRequest
from scenerec.data.packing.coordinate_list import locate
from scenerec.data.packing.corrections import leave_out, relabel
from scenerec.data.packing.image_lists import csv_lists, places_lists, read_csv, read_places, read_sun, sun_lists
from scenerec.data.packing.imagefolder import read_imagefolder, wrappings
from scenerec.data.packing.lists import csv_rows
from scenerec.data.packing.raw_set import RawSet
from scenerec.data.packing.tree import Folder
from scenerec.data.splits import split_of
from scenerec.errors import DataError
from scenerec.names import printable

READERS: dict[str, Callable[[Folder, Choices], RawSet]] = {
    "imagefolder": read_imagefolder,
    "places365": read_places,
    "sun397": read_sun,
    "csv": read_csv,
}
_SIGNS: dict[str, Callable[[Folder], object]] = {
    "places365": lambda folder: places_lists(folder.location),
    "sun397": lambda folder: sun_lists(folder.location),
    "csv": csv_lists,
}
"""What tells a layout of lists: something that is not empty."""
_NO_CHOICES = Choices()
_DIVIDED = ("train", "val")


def read_source(request: SourceRequest) -> RawSet:
    """Lists what is to be packed. Raises DataError as `read_raw_set` does, and for a destination in the source."""
    raw = read_raw_set(request.source, request.layout, request)
    if request.relabel:
        raw = relabel(raw, request.relabel)
    if request.exclude:
        raw = leave_out(raw, request.exclude, request.exclude_kinds)
    if request.division:
        raw = divided(raw, read_division(request.division), request.division)
    if request.coordinates:
        raw = locate(raw, request.coordinates, strict=request.split == "all")
    folder = request.source if request.source.is_dir() else raw.root
    if "://" not in request.destination and Path(request.destination).resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{request.destination}: lies in the source {folder}: choose a folder outside of it")
    return raw


def read_raw_set(source: Path, layout: str = "auto", choices: Choices = _NO_CHOICES) -> RawSet:
    """Lists the images of the data set at `source`.

    Raises DataError for a source that no layout fits, or that leaves open what its folders mean; for a split that it
    does not have, a malformed list, and a class that has no image in a split.
    """
    if layout != "auto" and layout not in READERS:
        raise DataError(f"layout: there is no `{layout}`: choose auto, {', '.join(READERS)}")
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    found = _read_file(source, layout, choices) if not source.is_dir() else _read_folder(source, layout, choices)
    if choices.classes:
        if unknown := set(found.classes) - set(choices.classes):
            problem = f"class `{printable(min(unknown))}` is not in --classes"
            raise DataError(f"{source}: {problem}: add it, or remove its images")
        found = replace(found, classes=choices.classes)
    if choices.split != "all" and choices.split not in found.splits:
        raise DataError(
            f"{source}: there is no split `{choices.split}` in this {found.layout} data set: choose another --split"
        )
    for split_name, images in () if choices.partial or found.is_multilabel else found.splits.items():
        present = {image.class_name for image in images}
        if empty := [class_name for class_name in found.classes if class_name not in present]:
            more = f" (nor have {len(empty) - 1} others)" if len(empty) > 1 else ""
            problem = f"class `{printable(empty[0])}` has no image in {split_name}{more}"
            raise DataError(f"{source}: {problem}: add some, remove it, or choose --split")
    return found


def read_division(table: Path) -> dict[str, str]:
    """The split of each image by its path, from a table with the columns path and split.

    Raises DataError for a split that is neither train nor val, and for an image that stands in it twice.
    """
    splits: dict[str, str] = {}
    for where, row in csv_rows(table, {"path": (), "split": ()}):
        path, split = row["path"], split_of(row["split"])
        if split not in _DIVIDED:
            raise DataError(f"{where}: split `{printable(row['split'])}`: write {' or '.join(_DIVIDED)}")
        if splits.setdefault(path, split) != split:
            raise DataError(f"{where}: {printable(path)} stands in both splits: remove one of its lines")
    return splits


def divided(raw: RawSet, division: Mapping[str, str], told_by: Path) -> RawSet:
    """The set, whose training images a division has put into train and val.

    Raises DataError for a set that has images for validation already, where an image stands in no split, and where a
    class has none in one.
    """
    if "val" in raw.splits:
        raise DataError(f"{raw.root}: has images for validation already: leave the division {told_by} out")
    images = raw.splits.get("train", ())
    if missing := next((image.path for image in images if image.path not in division), None):
        raise DataError(f"{told_by}: {printable(missing)} is in neither split: add a line for it")
    parts = {split: tuple(each for each in images if division[each.path] == split) for split in _DIVIDED}
    for split, part in parts.items():
        if raw.is_multilabel and not part:
            raise DataError(f"{told_by}: no image is in {split}: move some there")
        if empty := {image.class_name for image in images} - {image.class_name for image in part}:
            raise DataError(f"{told_by}: class `{printable(min(empty))}` has no image in {split}: move one there")
    others = {split: found for split, found in raw.splits.items() if split != "train"}
    origin = raw.origins.get("train", "")
    return replace(
        raw,
        splits={**parts, **others},
        origins={**raw.origins, **dict.fromkeys(_DIVIDED, f"{origin}, divided by {told_by.name}")},
    )


def detect(source: Folder, choices: Choices = _NO_CHOICES) -> tuple[str, Folder]:
    """The name of the layout of a folder, and where in it the data set begins. Raises DataError where none fits."""
    if choices.splits is not None:
        lists = choices.splits and all(name.lower().endswith(".csv") for name in choices.splits.values())
        return ("csv" if lists else "imagefolder"), source
    for folder in wrappings(source):
        for name, is_there in _SIGNS.items():
            if is_there(folder):
                return name, folder
    if any(folder.files for folder in source.walk() if folder is not source):
        return "imagefolder", source
    raise DataError(
        f"{source.location}: no known layout: expected CLASS/IMAGE or train/CLASS/IMAGE, the Places365 devkit "
        "(categories_places365.txt), SUN397 (ClassName.txt, Training_01.txt) or a CSV with path and label"
    )


def _read_folder(source: Path, layout: str, choices: Choices) -> RawSet:
    folder = Folder(source)
    name, folder = detect(folder, choices) if layout == "auto" else (layout, folder)
    if name != "imagefolder" and choices.nested:
        raise DataError(f"--nested: this {name} data set names the class of each image: leave the option out")
    if name not in ("imagefolder", "csv") and choices.splits is not None:
        raise DataError(f"--splits: this {name} data set lists the images of each split: leave the option out")
    return READERS[name](folder, choices)


def _read_file(source: Path, layout: str, choices: Choices) -> RawSet:
    if layout not in ("auto", "csv") or source.suffix.lower() != ".csv" or not source.is_file():
        raise DataError(f"{source}: not a data set: give a folder, or a CSV file with the columns path and label")
    if choices.splits is not None or choices.nested:
        raise DataError(f"{source}: names class and split of each image: leave --splits and --nested out")
    return read_csv(source, choices)
