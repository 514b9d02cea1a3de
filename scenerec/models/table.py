"""Facts of networks as tables: CSV files beside the code, a row of each as an object."""

import csv
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

Row = TypeVar("Row")


def read_table(file: Path, row: type[Row]) -> tuple[Row, ...]:
    """The rows of a file whose columns are the fields of the dataclass `row`; an empty cell is the field's default."""
    with file.open(encoding="utf-8", newline="") as lines:
        cells = [{column: cell for column, cell in line.items() if cell} for line in csv.DictReader(lines)]
    return tuple(TypeAdapter(list[row]).validate_python(cells))  # type: ignore[valid-type]
