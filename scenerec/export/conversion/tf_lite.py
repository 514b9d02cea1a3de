"""TensorFlow to TFLite: a network's Keras form becomes `.tflite` files, by TensorFlow's converter in a child process.

The model takes one uint8 image [1, height, width, 3], as phones and microcontrollers run them, and gives logits. No
TensorFlow here: the child (`tf_lite_worker`) imports it.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from scenerec.errors import ModelError
from scenerec.export.conversion import child_process, tf_onnx
from scenerec.export.conversion.child_process import ChildLimits
from scenerec.export.source import KerasNetwork, Source, TorchNetwork
from scenerec.frozen import Frozen

Form = Literal["fp32", "fp16", "int8", "int8-weights"]
"""int8: integers from the first layer to the last; int8-weights: activations are in float32, quantised on the way."""

LIMITS = ChildLimits(memory_bytes=8 * 2**30, time_s=3600.0)
"""What the child may take: the converter's quantiser holds a network several times."""

CALIBRATION_FILE = "calibration.npy"
"""Images that int8's ranges are measured on, in the child's folder."""


class TfLiteRequest(Frozen):
    """What the child is asked; the weights and the calibration images lie beside it."""

    network: tf_onnx.NetworkRequest
    """Network to convert; its operator set says nothing here."""
    mean: tuple[float, float, float]
    """Mean of red, green and blue in [0, 1], which the model subtracts."""
    std: tuple[float, float, float]
    """Deviation of red, green and blue in [0, 1], which the model divides by."""
    forms: tuple[Form, ...]
    """Forms that are to be made."""


def convert(
    source: Source, forms: Sequence[Form], calibration: np.ndarray | None = None, limits: ChildLimits = LIMITS
) -> dict[Form, bytes]:
    """Converts `source` to TFLite: form -> content of the file.

    Args:
        source: a network of the zoo, or a `.keras` file.
        forms: which are made.
        calibration: uint8 images [n, image_size, image_size, 3], for "int8".
        limits: of the child process.

    Raises:
        ModelError: the network has no Keras form, or the converter fails, or not within its limits.
    """
    if isinstance(source.network, TorchNetwork):
        raise ModelError(f"{source.address}: TFLite is made from Keras, and only the zoo's networks have a Keras twin")
    if isinstance(source.network, KerasNetwork) and source.network.path.is_dir():
        raise ModelError(f"{source.address}: TFLite is made from Keras models: save it as a .keras file")
    mean, std = source.preprocessing.mean, source.preprocessing.std
    with tempfile.TemporaryDirectory(prefix="scenerec-tflite-") as temporary:
        folder = Path(temporary)
        network = tf_onnx.network_request(source, tf_onnx.OPSETS[0], folder)
        request = TfLiteRequest(network=network, mean=mean, std=std, forms=tuple(forms))
        if calibration is not None:
            np.save(folder / CALIBRATION_FILE, _with_extremes(calibration))
        try:
            child_process.ask("scenerec.export.conversion.tf_lite_worker", folder, request, limits)
        except child_process.ChildError as error:
            told = "" if isinstance(error, child_process.ReportedError) else "TensorFlow's converter "
            raise ModelError(f"{source.address}: {told}{error}") from None
        return {form: (folder / f"{form}.tflite").read_bytes() for form in forms}


def _with_extremes(images: np.ndarray) -> np.ndarray:
    """A copy with a black and a white pixel in the first image: the input's levels are then the bytes from 0 to 255."""
    changed = images.copy()
    changed[0, 0, 0], changed[0, -1, -1] = 0, 255
    return changed
