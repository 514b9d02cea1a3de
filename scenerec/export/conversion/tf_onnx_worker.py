"""The child process of `tf_onnx`: loads a model in TensorFlow and writes its network graph.

`python -m scenerec.export.conversion.tf_onnx_worker FOLDER`: reads FOLDER/request.json, and the weights beside
it; writes the network, or failure.txt.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenerec.errors import ModelError, first_line
from scenerec.export.conversion.child_process import answer
from scenerec.export.conversion.tf_onnx import NETWORK_FILE, WEIGHTS_FILE, NetworkRequest
from scenerec.large_imports import large_imports


@dataclass(frozen=True)
class LoadedModel:
    """A model in TensorFlow."""

    call: Callable[..., Any]
    """Function of the model, traceable: float32 [batch, height, width, 3], for a twin that reads coordinates also
    these [batch, 3] and known [batch, 2] -> [batch, classes]."""
    layers: frozenset[str]
    """Names of the model's layers; empty where it does not know them."""
    model: Any
    """Object that the variables live with."""


def main(folder: Path) -> int:
    """Writes the network of the request in `folder`; returns the exit code (see `child_process.answer`)."""

    def work(request: NetworkRequest) -> None:
        source = load(request, folder / WEIGHTS_FILE)
        from scenerec.export.conversion import tf_hollow

        destination, places = folder / NETWORK_FILE, request.geo is not None
        tf_hollow.convert(source.call, request.image_size, source.layers, request.opset, destination, places)

    return answer(folder, NetworkRequest, work)


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

    with large_imports():
        from scenerec.models import tf_model, torch_encoder, torch_model
        from scenerec.models.keras_twin.builder import twin

    assert request.arch is not None and request.classes is not None
    if request.classes:
        network = torch_model.build(request.arch, request.classes, 0, request.geo)
    else:
        network = torch_encoder.build(request.arch, lambda features: {}, 0)
    model = twin(network, request.image_size, name=request.arch)
    tf_model.load_state(model, load_file(weights))

    def call(images: Any, *places: Any) -> Any:
        return model([images, *places] if places else images, training=False)

    return LoadedModel(call, _layer_names(model), model)


def _load_keras(path: Path, image_size: int) -> LoadedModel:
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras has no class of its own
        raise ModelError(f"Keras does not load it: {first_line(error)}") from None
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    dtypes = [tensor.dtype for tensor in model.inputs]
    _check_classifier(shapes, dtypes, [tuple(tensor.shape) for tensor in model.outputs], image_size)
    return LoadedModel(lambda images: model(images, training=False), _layer_names(model), model)


def _load_saved_model(path: Path, image_size: int) -> LoadedModel:
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
    _check_classifier(
        [tuple(spec.shape) for spec in inputs.values()],
        [spec.dtype.name for spec in inputs.values()],
        [tuple(tensor.shape) for tensor in outputs.values()],
        image_size,
    )
    (input_name,), (output_name,) = inputs, outputs
    return LoadedModel(lambda images: signature(**{input_name: images})[output_name], frozenset(), loaded)


def _check_classifier(
    inputs: list[tuple[int | None, ...]], dtypes: list[str], outputs: list[tuple[int | None, ...]], image_size: int
) -> None:
    """Raises ModelError where the model is no classifier of images of this size."""
    described = ", ".join(f"{dtype} {_axes(shape)}" for dtype, shape in zip(dtypes, inputs, strict=True))
    shape = inputs[0] if len(inputs) == 1 else ()
    if len(shape) != 4 or dtypes[0] != "float32" or shape[0] is not None or shape[3] != 3:
        raise ModelError(f"the model takes {described}, not float32 [batch, height, width, 3]")
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1] is None:
        raise ModelError(f"the model gives {', '.join(map(_axes, outputs))}, not [batch, classes]")
    if not {None, image_size}.issuperset(shape[1:3]):
        raise ModelError(f"the model takes {described}, not square images of {image_size} px")


def _axes(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


def _layer_names(model: Any) -> frozenset[str]:
    """Names all layers of the model, those of nested models included."""
    return frozenset(layer.name for layer in model._flatten_layers(include_self=False))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
