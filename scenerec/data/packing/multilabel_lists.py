"""Tables of images with several labels each: a column of all labels, or a column of 0 and 1 for each class."""

import re
from collections.abc import Iterator
from itertools import islice
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

    None where the labels are in one column. Some rows are looked at, not all. Raises DataError where one is malformed.
    """
    if has_columns(table, LABELS_COLUMN) or not has_columns(table, PATH_COLUMN):
        return ()
    rows = [row for _, row in islice(csv_rows(table, PATH_COLUMN, keep_case=True), _PROBED_ROWS)]
    columns = [name for name in next(iter(rows), {}) if name.casefold() not in _OTHER_COLUMNS]
    cells = {name: {clean(row[name]).casefold() for row in rows} for name in columns}
    is_form = all(name and any(found) and found <= _TRUTH.keys() for name, found in cells.items())
    return tuple(columns) if is_form else ()


def labelled_rows(table: Path) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    """Where each row stands, its values by column, and its labels, of which there may be none.

    Raises DataError where a table is neither form, and for what is neither 0 nor 1 in the column of a class.
    """
    if has_columns(table, LABELS_COLUMN):
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


def _is_on(where: str, name: str, text: str) -> bool:
    value = _TRUTH.get(clean(text).casefold())
    if value is None:
        raise DataError(
            f"{where}: {printable(name)} is `{printable(text)}`: write 1 for an image that has it, 0 for others"
        )
    return value
