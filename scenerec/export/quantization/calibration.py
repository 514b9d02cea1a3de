"""Ranges of a graph's activations on real images: what static quantisation takes its scales from."""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import CalibraterBase, HistogramCalibrater, TensorsData, create_calibrator

Method = Literal["minmax", "99.9", "99.99", "99.999"]
"""How ranges are found: the whole range, or the middle so many percent of the values.

onnxruntime's entropy method gives minmax's scales.
"""

# The calibrators keep every activation of what they are given at once: ResNet-50's are 90 MB an image.
_IMAGES_AT_ONCE = 2


class Calibration:
    """Activations of one graph over calibration images; each method reads them once, at its first use.

    Args:
        model: a graph in float32, its shapes inferred.
        inputs: what its inputs take, by name, [n, ...] each; nothing else is calibrated on.
        op_types: operators whose inputs and outputs get a range.
    """

    def __init__(self, model: ModelProto, inputs: Mapping[str, np.ndarray], op_types: tuple[str, ...]) -> None:
        self.model, self.inputs, self.op_types = model, inputs, op_types

    @property
    def images(self) -> int:
        """How many images it is calibrated on."""
        return len(next(iter(self.inputs.values())))

    def ranges(self, method: Method) -> TensorsData:
        """Returns the lowest and the highest value of every tensor, by `method`."""
        if method == "minmax":
            return self._minmax
        collector = self._histograms.collector
        collector.percentile = float(method)
        with _silence():
            return TensorsData(CalibrationMethod.Percentile, collector.compute_collection_result())

    @cached_property
    def _minmax(self) -> TensorsData:
        return self._collected(CalibrationMethod.MinMax).compute_data()

    @cached_property
    def _histograms(self) -> HistogramCalibrater:
        return self._collected(CalibrationMethod.Percentile)

    def _collected(self, method: CalibrationMethod) -> CalibraterBase:
        with tempfile.TemporaryDirectory(prefix="scenerec-calibration-") as folder:
            path = Path(folder) / "model.onnx"
            onnx.save_model(self.model, path)
            augmented = str(Path(folder) / "augmented.onnx")
            # By default the histograms' ranges would be symmetric.
            calibrator = create_calibrator(
                path, list(self.op_types), augmented, method, extra_options={"symmetric": False}
            )
            for first in range(0, self.images, _IMAGES_AT_ONCE):
                part = {name: each[first : first + _IMAGES_AT_ONCE] for name, each in self.inputs.items()}
                with _silence():
                    calibrator.collect_data(_Once(part))
        return calibrator


class _Once(CalibrationDataReader):
    """One batch."""

    def __init__(self, feed: dict[str, np.ndarray]) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = iter([feed])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The batch, then None."""
        return next(self._feeds, None)


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    """The histograms' collector prints what it does."""
    return contextlib.redirect_stdout(io.StringIO())
