"""Lists as files: lines of words, and tables with columns. Errors name the file and, where there is one, the line."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from scenerec.data.class_names import parse_class_list
from scenerec.errors import DataError
from scenerec.names import clean, printable

if TYPE_CHECKING:
    import _csv


def text_lines(path: Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """Where each line stands ("FILE, line 3") and its fields, cut off from its end; empty lines are skipped.

    What stands before the last fields may have spaces in it. Raises DataError for a line of fewer fields.
    """
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            where, text = f"{path}, line {number}", line.strip()
            parts = text.rsplit(maxsplit=fields - 1)
            if text and len(parts) < fields:
                raise DataError(f"{where}: expected {fields} fields, got `{printable(text[:60])}`")
            if text:
                yield where, [part.strip() for part in parts]


def class_list(path: Path) -> dict[str, str]:
    """The classes of a list in order of class index: the name of each, by the path that the list gives it."""
    with _open(path) as lines:
        try:
            return parse_class_list("".join(lines))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None


def csv_rows(
    path: Path, columns: Mapping[str, Sequence[str]], keep_case: bool = False
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row stands, and its values by column; empty rows are skipped.

    Columns are found whatever their case, and called in lower case, or where `keep_case` as they are written. `columns`
    must all be there, each under its own name or else under the first of the other names that are given for it. Raises
    DataError where one is missing, and for a row of more fields than there are columns.
    """
    with _open(path) as lines:
        rows = _table(lines)
        headings = _headings(next(rows, []), columns, keep_case)
        for column in columns:
            if column not in headings:
                raise DataError(f"{path}: no column `{column}`: the first line must name {' and '.join(columns)}")
        for row in rows:
            if not any(map(str.strip, row)):
                continue
            where = f"{path}, line {rows.line_num}"
            if any(map(str.strip, row[len(headings) :])):
                raise DataError(f"{where}: has more fields than columns: put a value that has commas in quotes")
            values = row + [""] * (len(headings) - len(row))
            yield where, dict(zip(headings, values, strict=False))


def csv_cells(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each row stands, and its cells; empty rows are skipped."""
    with _open(path) as lines:
        rows = csv.reader(lines)
        for cells in rows:
            if cells:
                yield f"{path}, line {rows.line_num}", cells


def has_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether a file is a table that has these columns, as `csv_rows` finds them."""
    try:
        with _open(path) as lines:
            return columns.keys() <= set(_headings(next(_table(lines), []), columns))
    except DataError:
        return False


def _table(lines: Iterator[str]) -> "_csv.Reader":
    """The rows of a table whose fields stand apart by commas or, as spreadsheets write it, semicolons or tabs."""
    first = next(lines, "")
    delimiter = max(",;\t", key=first.count)
    return csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)


def _headings(row: Sequence[str], columns: Mapping[str, Sequence[str]], keep_case: bool = False) -> list[str]:
    """The names of the columns; one that is known by another name is called as `columns` calls it."""
    written = [clean(heading) for heading in row]
    headings = [heading.casefold() for heading in written]
    for column, others in columns.items():
        if column not in headings and (other := next((name for name in others if name in headings), None)):
            headings[headings.index(other)] = column
    if not keep_case:
        return headings
    return [name if name in columns else heading for name, heading in zip(headings, written, strict=True)]


@contextmanager
def _open(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a text, with or without a byte order mark."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield _plain_lines(path, file)
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except csv.Error as error:
        raise DataError(f"{path}: is no table: {printable(str(error))}: mend its quotation marks") from None


def _plain_lines(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DataError(f"{path}, line {number}: has a NUL byte: save the file as UTF-8 text, or remove the line")
        yield line
