"""TensorFlow to ONNX, by tf2onnx in a child process. torch_onnx is the counterpart for torch.

No TensorFlow here: the child (`tf_onnx_worker`) imports it, under a cap of memory and of time, and ends with it.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from pydantic import ValidationError
from safetensors.numpy import save_file

from scenerec.errors import ModelError
from scenerec.export.conversion import child_process
from scenerec.export.conversion.child_process import DEFAULT_LIMITS, ChildLimits
from scenerec.export.graphs.network_graph import check_network
from scenerec.frozen import Frozen
from scenerec.models import zoo

OPSETS = range(18, 24)
"""Operator sets that can be asked for: tf2onnx writes 18; onnx's own converter goes on from there."""

SOFTMAX_REMOVED = "scenerec.softmax_removed"
"""Key in the metadata of a network whose model ended with a softmax: its logits are what that was applied to."""

REQUEST_FILE = "request.json"
"""What the child is asked, in its folder."""
WEIGHTS_FILE = "weights.safetensors"
"""Weights of a twin, by their neutral names, in the child's folder."""
NETWORK_FILE = "network.onnx"
"""The network graph that the child writes, in its folder."""
FAILURE_FILE = "failure.json"
"""The child's explanation, in its folder, where it writes no graph."""


class ConversionError(ModelError):
    """A model that tf2onnx cannot convert, or not within its limits."""


class UnsupportedOperatorsError(ConversionError):
    """Operators that tf2onnx has no equivalent of."""


class NetworkRequest(Frozen):
    """What the child is asked: a zoo's twin with the weights beside it, or a model's path."""

    arch: str | None = None
    """Architecture of a zoo's twin."""
    classes: int | None = None
    """Classes of the twin's head."""
    path: str | None = None
    """File or folder of a model that is no twin."""
    image_size: int | None = None
    """Side of the images in pixels; None where the model itself fixes it."""
    opset: int
    """Operator set of the graph."""


class Failure(Frozen):
    """What the child answers where there is no network."""

    message: str
    """What went wrong, in a line."""
    unsupported: bool = False
    """Whether operators are the reason that tf2onnx has no equivalent of."""


def convert_twin(
    arch: str,
    classes: int,
    image_size: int,
    state: Mapping[str, np.ndarray],
    opset: int = 18,
    limits: ChildLimits = DEFAULT_LIMITS,
) -> ModelProto:
    """Converts the Keras twin of an architecture to a network graph (see `network_graph`).

    Args:
        arch: name in the zoo.
        classes: of the head.
        image_size: in pixels.
        state: the neutral state.
        opset: one of OPSETS.
        limits: of the child process.

    Raises:
        UnsupportedOperatorsError: names each operator and the layers that use it.
        ConversionError: the limits do not suffice, or tf2onnx fails.
        ModelError: `arch`, `image_size` or `state` do not fit together.
    """
    zoo.check_image_size(arch, image_size)
    return _convert(NetworkRequest(arch=arch, classes=classes, image_size=image_size, opset=opset), arch, state, limits)


def convert_keras(
    path: Path, image_size: int | None, opset: int = 18, limits: ChildLimits = DEFAULT_LIMITS
) -> ModelProto:
    """Converts any image classifier to a network graph: a `.keras` file, or the folder of a SavedModel.

    The model takes one float32 [batch, height, width, 3] and gives one [batch, classes]. A softmax at its end is cut
    off, and SOFTMAX_REMOVED set in the metadata; any other output is taken for logits as it is. Normalisation that
    the model does itself stays in the network. No code is loaded from a `.keras` file.

    Args:
        path: of the file or folder.
        image_size: in pixels; may be None where the model itself fixes it.
        opset: one of OPSETS.
        limits: of the child process.

    Raises:
        UnsupportedOperatorsError: names each operator and the layers that use it.
        ConversionError: the limits do not suffice, or tf2onnx fails.
        ModelError: the file cannot be loaded, or is no classifier of images.
    """
    if not path.exists():
        raise ModelError(f"{path}: does not exist: give a .keras file or the folder of a SavedModel")
    return _convert(
        NetworkRequest(path=str(path.absolute()), image_size=image_size, opset=opset), str(path), None, limits
    )


def write_request(folder: Path, request: Frozen, state: Mapping[str, np.ndarray] | None) -> None:
    """Lays out a child's folder: REQUEST_FILE and, where there is a neutral state, WEIGHTS_FILE."""
    (folder / REQUEST_FILE).write_text(request.model_dump_json())
    if state is not None:
        save_file({key: np.ascontiguousarray(array) for key, array in state.items()}, folder / WEIGHTS_FILE)


def _convert(
    request: NetworkRequest, name: str, state: Mapping[str, np.ndarray] | None, limits: ChildLimits
) -> ModelProto:
    if request.opset not in OPSETS:
        raise ModelError(f"opset {request.opset}: tf2onnx writes {OPSETS[0]} to {OPSETS[-1]}")
    with tempfile.TemporaryDirectory(prefix="scenerec-tf2onnx-") as temporary:
        folder = Path(temporary)
        write_request(folder, request, state)
        _run_child(folder, name, limits)
        network = onnx.load(folder / NETWORK_FILE)
    check_network(network)
    return network


def _run_child(folder: Path, name: str, limits: ChildLimits) -> None:
    """Raises what the child reports, and ConversionError where a limit or a signal ends it."""
    try:
        child_process.run("scenerec.export.conversion.tf_onnx_worker", folder, limits)
    except child_process.LimitError as error:
        raise ConversionError(f"{name}: tf2onnx {error}: use --route twin") from None
    except child_process.ChildError as error:
        raise _failure(folder, name, error) from None


def _failure(folder: Path, name: str, error: child_process.ChildError) -> ModelError:
    try:
        failure = Failure.model_validate_json((folder / FAILURE_FILE).read_text())
    except (OSError, ValidationError):
        return ConversionError(f"{name}: tf2onnx {error}")
    return (UnsupportedOperatorsError if failure.unsupported else ConversionError)(f"{name}: {failure.message}")
