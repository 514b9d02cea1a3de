"""How much each layer loses in int8: measured at the logits, with that layer alone quantised."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from scenerec.export.quantization.accuracy_gate import snr_db
from scenerec.export.quantization.calibration import Calibration
from scenerec.export.quantization.quantize import Recipe, chosen, layers, quantize


@dataclass(frozen=True)
class Sensitivity:
    """What quantising one layer costs."""

    layer: str
    """Name of the layer's node."""
    snr_db: float
    """Power of the logits over that of their error, in decibels: the lower, the more is lost."""


def measure(
    calibration: Calibration, recipe: Recipe, logits: Callable[[ModelProto], np.ndarray], reference: np.ndarray
) -> list[Sensitivity]:
    """Measures every layer that the recipe quantises; the most sensitive comes first.

    Args:
        calibration: the graph.
        recipe: how each layer is quantised.
        logits: of a model on some images, float32 [n, classes].
        reference: of the graph in float32 on the same.
    """
    names = layers(calibration.model).keys() & set(chosen(calibration.model, recipe))
    found = [Sensitivity(name, snr_db(reference, logits(quantize(calibration, recipe, [name])))) for name in names]
    return sorted(found, key=lambda entry: (entry.snr_db, entry.layer))
