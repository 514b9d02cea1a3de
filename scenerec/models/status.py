"""How far the twin and the ONNX graph of each architecture are from torch, as last measured: status.csv."""

import csv
from dataclasses import dataclass
from pathlib import Path

from scenerec.models.zoo import ARCHITECTURES, more_of_timm

STATUS_FILE = Path(__file__).with_name("status.csv")
"""A row for each architecture of which something was measured."""


@dataclass(frozen=True)
class Status:
    """Largest differences of logits from torch's, over the scale of the logits; None where it was not checked.

    Attributes:
        twin_difference: of the Keras twin with the same weights.
        onnx_difference: of the exported ONNX graph in onnxruntime.
    """

    twin_difference: float | None = None
    onnx_difference: float | None = None


def read_status(file: Path = STATUS_FILE) -> dict[str, Status]:
    """The status of every architecture that can be trained, the chosen ones first."""
    with file.open(encoding="utf-8", newline="") as rows:
        found = {row.pop("arch"): row for row in csv.DictReader(rows)}
    return {
        name: Status(**{field: float(value) for field, value in found.get(name, {}).items() if value})
        for name in (*ARCHITECTURES, *more_of_timm())
    }
