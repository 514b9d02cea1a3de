"""The child process of `tf_onnx`: loads a model in TensorFlow and writes its network graph.

`python -m scenerec.export.conversion.tf_onnx_worker FOLDER`: reads FOLDER/request.json, and the weights beside
it; writes the network, or failure.json.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenerec.errors import ModelError, ScenerecError, first_line
from scenerec.export.conversion.tf_onnx import (
    FAILURE_FILE,
    NETWORK_FILE,
    REQUEST_FILE,
    WEIGHTS_FILE,
    Failure,
    NetworkRequest,
    UnsupportedOperatorsError,
)


@dataclass(frozen=True)
class LoadedModel:
    """A model in TensorFlow."""

    call: Callable[[Any], Any]
    """Function of the model, traceable: float32 [batch, height, width, 3] -> [batch, classes]."""
    image_size: int
    """Side of the images, in pixels."""
    layers: frozenset[str]
    """Names of the model's layers; empty where it does not know them."""
    model: Any
    """Object that the variables live with."""


def main(folder: Path) -> int:
    """Does what the request in `folder` asks for; returns the exit code.

    The code is 0, or 1 with FAILURE_FILE for what can be explained in one line.
    """
    request = NetworkRequest.model_validate_json((folder / REQUEST_FILE).read_text())
    try:
        source = load(request, folder / WEIGHTS_FILE)
        from scenerec.export.conversion import tf_hollow

        tf_hollow.convert(source.call, source.image_size, source.layers, request.opset, folder / NETWORK_FILE)
    except ScenerecError as error:
        failure = Failure(message=str(error), unsupported=isinstance(error, UnsupportedOperatorsError))
        (folder / FAILURE_FILE).write_text(failure.model_dump_json())
        return 1
    return 0


def load(request: NetworkRequest, weights: Path) -> LoadedModel:
    """Loads the model of a request, whose weights are in a file.

    Raises ModelError where it is no classifier of images.
    """
    if request.arch is not None:
        return _load_twin(request, weights)
    assert request.path is not None
    path = Path(request.path)
    return (_load_saved_model if path.is_dir() else _load_keras)(path, request.image_size)


def _load_twin(request: NetworkRequest, weights: Path) -> LoadedModel:
    from safetensors.numpy import load_file

    from scenerec.models import tf_model, torch_model
    from scenerec.models.keras_twin.builder import twin

    assert request.arch is not None and request.classes is not None and request.image_size is not None
    network = torch_model.build(request.arch, request.classes, seed=0)
    model = twin(network, request.image_size, name=request.arch)
    del network
    tf_model.load_state(model, load_file(weights))
    return LoadedModel(lambda images: model(images, training=False), request.image_size, _layer_names(model), model)


def _load_keras(path: Path, image_size: int | None) -> LoadedModel:
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras has no class of its own
        raise ModelError(f"Keras does not load it: {first_line(error)}") from None
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    dtypes = [tensor.dtype for tensor in model.inputs]
    size = _image_size(shapes, dtypes, [tuple(tensor.shape) for tensor in model.outputs], image_size)
    return LoadedModel(lambda images: model(images, training=False), size, _layer_names(model), model)


def _load_saved_model(path: Path, image_size: int | None) -> LoadedModel:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # of several classes
        raise ModelError(f"TensorFlow does not load it: {first_line(error)}") from None
    if "serving_default" not in loaded.signatures:
        found = ", ".join(loaded.signatures) or "none"
        raise ModelError(f"the SavedModel has no signature serving_default, but {found}: save it with model.export")
    signature = loaded.signatures["serving_default"]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    size = _image_size(
        [tuple(spec.shape) for spec in inputs.values()],
        [spec.dtype.name for spec in inputs.values()],
        [tuple(tensor.shape) for tensor in outputs.values()],
        image_size,
    )
    (input_name,), (output_name,) = inputs, outputs
    return LoadedModel(lambda images: signature(**{input_name: images})[output_name], size, frozenset(), loaded)


def _image_size(
    inputs: list[tuple[int | None, ...]],
    dtypes: list[str],
    outputs: list[tuple[int | None, ...]],
    asked: int | None,
) -> int:
    """The size of a classifier's images. Raises ModelError where the model is none."""
    described = ", ".join(f"{dtype} {_axes(shape)}" for dtype, shape in zip(dtypes, inputs, strict=True))
    shape = inputs[0] if len(inputs) == 1 else ()
    if len(shape) != 4 or dtypes[0] != "float32" or shape[0] is not None or shape[3] != 3:
        raise ModelError(f"the model takes {described}, not float32 [batch, height, width, 3]")
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1] is None:
        raise ModelError(f"the model gives {', '.join(map(_axes, outputs))}, not [batch, classes]")
    sides = {side for side in shape[1:3] if side is not None} | ({asked} if asked is not None else set())
    if len(sides) > 1:
        raise ModelError(f"the model takes {described}, not square images{f' of {asked} px' if asked else ''}")
    if not sides:
        raise ModelError("the model takes images of any size: give --image-size")
    return sides.pop()


def _axes(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


def _layer_names(model: Any) -> frozenset[str]:
    """Names all layers of the model, those of nested models included."""
    return frozenset(layer.name for layer in model._flatten_layers(include_self=False))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
