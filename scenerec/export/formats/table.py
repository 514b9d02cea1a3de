"""The export formats that `--precision` offers. A format is an entry here, and a module with its `make`."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scenerec.errors import ConfigError

if TYPE_CHECKING:
    from scenerec.export.job import ExportJob, Product


@dataclass(frozen=True)
class ExportFormat:
    """A kind of model that an export can make."""

    name: str
    """What `--precision` calls the format."""
    module: str
    """Path of the module whose `make` takes an ExportJob and returns its Product, or raises why there is none."""

    def load(self) -> "Callable[[ExportJob], Product]":
        """Imports the format's libraries, which takes seconds, and returns its `make`."""
        return importlib.import_module(self.module).make


_TABLE = (
    ExportFormat("fp32", "scenerec.export.formats.onnx_float"),
    ExportFormat("fp16", "scenerec.export.formats.onnx_float"),
    ExportFormat("int8", "scenerec.export.formats.onnx_int8"),
    ExportFormat("int8-dynamic", "scenerec.export.formats.onnx_int8"),
    ExportFormat("tflite-int8", "scenerec.export.formats.tflite"),
    ExportFormat("tflite-fp16", "scenerec.export.formats.tflite"),
)

FORMATS: dict[str, ExportFormat] = {entry.name: entry for entry in _TABLE}
"""Every export format, by name."""


def find_format(name: str) -> ExportFormat:
    """Returns the format of this name. Raises ConfigError where there is none."""
    if name not in FORMATS:
        raise ConfigError(f"--precision {name}: there are {', '.join(FORMATS)}")
    return FORMATS[name]
