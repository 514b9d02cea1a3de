"""TensorFlow to ONNX, by tf2onnx in a child process. torch_onnx is the counterpart for torch.

No TensorFlow here: the child (`tf_onnx_worker`) imports it, under a cap of memory and of time, and ends with it.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from safetensors.numpy import save_file

from scenerec.errors import ModelError
from scenerec.export.conversion import child_process
from scenerec.export.conversion.child_process import DEFAULT_LIMITS, ChildLimits
from scenerec.export.graphs.network_graph import check_network
from scenerec.export.source import KerasNetwork, Source, TorchNetwork
from scenerec.frozen import Frozen
from scenerec.models import zoo
from scenerec.models.geo import GeoSpec

OPSETS = range(18, 24)
"""Operator sets that can be asked for: tf2onnx writes 18; onnx's own converter goes on from there."""

SOFTMAX_REMOVED = "scenerec.softmax_removed"
"""Key in the metadata of a network whose model ended with a softmax: its logits are what that was applied to."""

WEIGHTS_FILE = "weights.safetensors"
"""Weights of a twin, by their neutral names, in the child's folder."""
NETWORK_FILE = "network.onnx"
"""The network graph that the child writes, in its folder."""


class ConversionError(ModelError):
    """A model that tf2onnx cannot convert, or not within its limits."""


class NetworkRequest(Frozen):
    """What the child is asked: a zoo's twin with the weights beside it, or a model's path."""

    arch: str | None = None
    """Architecture of a zoo's twin."""
    classes: int | None = None
    """Classes of the twin's head; 0 of a backbone alone, whose features are what it gives."""
    geo: GeoSpec | None = None
    """How the twin reads coordinates; None where it sees images alone."""
    path: str | None = None
    """File or folder of a model that is no twin."""
    image_size: int
    """Side of the images in pixels."""
    opset: int
    """Operator set of the graph."""


def convert(source: Source, opset: int = OPSETS[0], limits: ChildLimits = DEFAULT_LIMITS) -> ModelProto:
    """Converts a network of the zoo, by its Keras twin, or any Keras classifier to a network graph (`network_graph`).

    A Keras classifier takes one float32 [batch, height, width, 3] and gives one [batch, classes]. A softmax at its end
    is cut off, and SOFTMAX_REMOVED set in the metadata; any other output is taken for logits as it is. Normalisation
    that the model does itself stays in the network. No code is loaded from a `.keras` file.

    Args:
        source: the network, no torch module.
        opset: one of OPSETS.
        limits: of the child process.

    Raises:
        ConversionError: operators have no equivalent (the message names each, and the layers that use it), the limits
            do not suffice, or tf2onnx fails.
        ModelError: the network cannot be loaded, or is no classifier of images.
    """
    if opset not in OPSETS:
        raise ModelError(f"opset {opset}: tf2onnx writes {OPSETS[0]} to {OPSETS[-1]}")
    with tempfile.TemporaryDirectory(prefix="scenerec-tf2onnx-") as temporary:
        folder = Path(temporary)
        request = network_request(source, opset, folder)
        try:
            child_process.ask("scenerec.export.conversion.tf_onnx_worker", folder, request, limits)
        except child_process.LimitError as error:
            raise ConversionError(f"{source.address}: tf2onnx {error}: use --route twin") from None
        except child_process.ReportedError as error:
            raise ConversionError(f"{source.address}: {error}") from None
        except child_process.ChildError as error:
            raise ConversionError(f"{source.address}: tf2onnx {error}") from None
        network = onnx.load(folder / NETWORK_FILE)
    check_network(network)
    return network


def network_request(source: Source, opset: int, folder: Path) -> NetworkRequest:
    """Describes the source's network for a child, and lays a twin's weights into the child's folder.

    Raises ModelError for a torch module, for images of a size that the architecture does not take, and for a path where
    nothing is.
    """
    network, size = source.network, source.preprocessing.image_size
    if isinstance(network, TorchNetwork):
        raise ModelError(f"{source.address}: only the zoo's networks have a Keras twin")
    if isinstance(network, KerasNetwork):
        if not network.path.exists():
            raise ModelError(f"{network.path}: does not exist: give a .keras file or the folder of a SavedModel")
        return NetworkRequest(path=str(network.path.absolute()), image_size=size, opset=opset)
    zoo.check_image_size(network.arch, size)
    save_file({key: np.ascontiguousarray(array) for key, array in network.state.items()}, folder / WEIGHTS_FILE)
    return NetworkRequest(arch=network.arch, classes=network.classes, geo=network.geo, image_size=size, opset=opset)
