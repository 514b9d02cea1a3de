"""Tables of images with several labels each: a column of all labels, or a column of 0 and 1 for each class."""

import re
from collections.abc import Iterator
from pathlib import Path

from scenerec.data.labels import SEPARATOR
from scenerec.data.packing.lists import csv_rows, has_columns
from scenerec.errors import DataError
from scenerec.names import clean, printable

PATH_COLUMN = {"path": ("image", "img", "filename", "file", "id")}
"""The column that every list of images has, with the other names that it goes by."""
LABELS_COLUMN = {**PATH_COLUMN, "labels": ("tags", "attributes", "classes", "categories")}
"""The columns of a list whose rows have all labels in one, apart by `;` or `|`."""

_OTHER_COLUMNS = ("path", "split", "latitude", "longitude", "time")
_TRUTH = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}
_FEWEST_CLASSES = 2
_PROBED_ROWS = 50


def is_multilabel_list(table: Path) -> bool:
    """Whether a table has the columns path and labels; or path and, of each class, one of 0 and 1."""
    return has_columns(table, LABELS_COLUMN) or len(class_columns(table)) >= _FEWEST_CLASSES


def class_columns(table: Path) -> tuple[str, ...]:
    """The columns that name classes, as they are written: all but those of a list, where they hold 0 and 1 alone.

    None where the labels are in one column. The first rows are looked at, seldom all. Raises DataError where one is
    malformed.
    """
    if has_columns(table, LABELS_COLUMN) or not has_columns(table, PATH_COLUMN):
        return ()
    cells = _first_cells(table)
    return tuple(cells) if all(name and _is_of_class(found) for name, found in cells.items()) else ()


def _is_of_class(cells: set[str]) -> bool:
    return any(cells) and cells <= _TRUTH.keys()


def _first_cells(table: Path) -> dict[str, set[str]]:
    """What the first rows have in each column that may name a class: so many rows that none is empty, if there are."""
    cells: dict[str, set[str]] = {}
    for number, (_, row) in enumerate(csv_rows(table, PATH_COLUMN, keep_case=True)):
        if number >= _PROBED_ROWS and all(any(found) for found in cells.values()):
            break
        for name in row:
            if name.casefold() not in _OTHER_COLUMNS:
                cells.setdefault(name, set()).add(clean(row[name]).casefold())
    return cells


def check_is_list(table: Path) -> None:
    """Raises DataError, with the reason, for a table with a column of paths and no column label that is no such list.

    One without a column of paths is not judged, and neither is one without further columns.
    """
    if not has_columns(table, PATH_COLUMN) or is_multilabel_list(table):
        return
    cells = _first_cells(table)
    odd = next((name for name, found in cells.items() if not _is_of_class(found)), None)
    if odd is None or len(cells) < _FEWEST_CLASSES:
        return
    value = min(cells[odd] - _TRUTH.keys(), default="")
    raise DataError(
        f"{table}: has neither a column label, nor labels (several, apart by `{SEPARATOR}`), nor columns of 0 and 1 "
        f"alone: {printable(odd)} has {f'`{printable(value)}`' if value else 'nothing'}"
    )


def labelled_rows(table: Path) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    """Where each row stands, its values by column, and its labels, of which there may be none.

    Raises DataError where a table is neither form, and for what is neither 0 nor 1 in the column of a class.
    """
    if has_columns(table, LABELS_COLUMN):
        _check_separators(table)
        for where, row in csv_rows(table, LABELS_COLUMN):
            names = map(clean, re.split(rf"[{SEPARATOR}|]", row["labels"]))
            yield where, row, tuple(dict.fromkeys(name for name in names if name))
        return
    classes = class_columns(table)
    if len(classes) < _FEWEST_CLASSES:
        raise DataError(
            f"{table}: has neither a column labels nor, beside path and split, columns of 0 and 1 alone, as the other "
            "lists of the set"
        )
    for where, row in csv_rows(table, PATH_COLUMN, keep_case=True):
        values = {column.casefold(): value for column, value in row.items() if column not in classes}
        yield where, values, tuple(clean(name) for name in classes if _is_on(where, name, row[name]))


def _check_separators(table: Path) -> None:
    """Raises DataError where labels stand apart by commas: as one label `sea,sky` they would be learned."""
    odd = None
    for where, row in csv_rows(table, LABELS_COLUMN):
        text = row["labels"]
        if SEPARATOR in text or "|" in text:
            return
        odd = odd or ((where, text) if "," in text else None)
    if odd:
        raise DataError(
            f"{odd[0]}: labels `{printable(odd[1])}` have a comma: write them apart by `{SEPARATOR}`; where it is part "
            f"of one label, end each cell with `{SEPARATOR}`"
        )


def _is_on(where: str, name: str, text: str) -> bool:
    value = _TRUTH.get(clean(text).casefold())
    if value is None:
        raise DataError(
            f"{where}: {printable(name)} is `{printable(text)}`: write 1 for an image that has it, 0 for others"
        )
    return value
