"""How far the twin and the ONNX graph of each architecture are from torch, as last measured: status.csv."""

import csv
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from scenerec.models.zoo import ARCHITECTURES, architecture

_FILE = Path(__file__).with_name("status.csv")


@dataclass(frozen=True)
class Status:
    """Largest differences of logits from torch's, over the scale of the logits; None where it was not checked.

    Attributes:
        twin_difference: of the Keras twin with the same weights.
        onnx_difference: of the exported ONNX graph in onnxruntime.
    """

    twin_difference: float | None = None
    onnx_difference: float | None = None


def read_status(file: Path = _FILE) -> dict[str, Status]:
    """The status of every architecture of the zoo."""
    with file.open(encoding="utf-8", newline="") as rows:
        found = {row.pop("arch"): row for row in csv.DictReader(rows)}
    return {
        name: Status(**{field: float(value) for field, value in found.get(name, {}).items() if value})
        for name in ARCHITECTURES
    }


def record(arch: str, file: Path = _FILE, **differences: float) -> None:
    """Writes what was measured of `arch`, by the names of Status; its other figures and other rows stay.

    Raises:
        UnknownArchitectureError: there is no architecture `arch`.
    """
    name, status = architecture(arch).name, read_status(file)
    status[name] = replace(status[name], **differences)
    with file.open("w", encoding="utf-8", newline="") as rows:
        writer = csv.DictWriter(rows, ["arch", *(field.name for field in fields(Status))], lineterminator="\n")
        writer.writeheader()
        for measured, entry in status.items():
            if entry != Status():
                values = {field: f"{value:.1e}" for field, value in asdict(entry).items() if value is not None}
                writer.writerow({"arch": measured, **values})
