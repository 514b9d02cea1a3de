"""What tables, such as those of `data check`, change of a data set before it is packed."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from scenerec.data.finding_kinds import OPINIONS
from scenerec.data.packing.lists import csv_rows
from scenerec.data.packing.raw_set import RawSet
from scenerec.errors import DataError
from scenerec.names import clean, printable


def leave_out(raw: RawSet, table: Path, kinds: Collection[str] = ()) -> RawSet:
    """The set without the images that a table names in its column `path`, relative to the set's root.

    Of its column `kind`, where there is one, rows of `kinds` count; where none are given all but those of `OPINIONS`.
    Raises DataError for a row that names none of its images: the table may be of another folder.
    """
    rows = [row for _, row in _rows_of(raw, table, ("path", "kind") if kinds else ("path",))]
    listed = {row["path"] for row in rows if _is_meant(row.get("kind", ""), kinds)}
    splits = {
        split: tuple(image for image in images if image.path not in listed) for split, images in raw.splits.items()
    }
    stay = len({row["path"] for row in rows} - listed)
    remark = f"{len(listed)} images are left out, as {table} says" + (f", {stay} of other kinds stay" if stay else "")
    return replace(raw, splits=splits, remarks=(*raw.remarks, remark))


def relabel(raw: RawSet, table: Path) -> RawSet:
    """The set with the images of a table in the classes of its column `likely_class`; rows without one count not.

    Raises DataError for a row that names none of the set's images or none of its classes, and where a class loses all.
    """
    if raw.is_multilabel:
        raise DataError(f"{table}: --relabel gives an image one class, and those of {raw.root} have several labels")
    classes = {clean(name): name for name in raw.classes}
    changed: dict[str, str] = {}
    for where, row in _rows_of(raw, table, ("path", "likely_class")):
        if (likely := clean(row["likely_class"])) and likely not in classes:
            raise DataError(f"{where}: `{printable(likely)}`: is no class of {raw.root}: name one that has images")
        if likely:
            changed[row["path"]] = classes[likely]
    splits = {
        split: tuple(replace(image, class_name=changed.get(image.path, image.class_name)) for image in images)
        for split, images in raw.splits.items()
    }
    for split, after_all in splits.items():
        before, after = ({image.class_name for image in some} for some in (raw.splits[split], after_all))
        if lost := sorted(before - after):
            raise DataError(f"{table}: leaves no image of `{printable(lost[0])}` in {split}: take some rows out")
    images = [image for images in raw.splits.values() for image in images]
    moved = sum(changed.get(image.path, image.class_name) != image.class_name for image in images)
    return replace(raw, splits=splits, remarks=(*raw.remarks, f"{moved} images change their class, as {table} says"))


def _is_meant(kind: str, kinds: Collection[str]) -> bool:
    return kind in kinds if kinds else kind not in OPINIONS


def _rows_of(raw: RawSet, table: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a table stands, and the row. Raises DataError for one that names no image of the set."""
    known = {image.path for images in raw.splits.values() for image in images}
    for where, row in csv_rows(table, dict.fromkeys(columns, ())):
        if row["path"] not in known:
            raise DataError(f"{where}: {printable(row['path'])}: is no image of {raw.root}: is the table of it?")
        yield where, row
