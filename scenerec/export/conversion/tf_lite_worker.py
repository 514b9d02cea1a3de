"""The child process of `tf_lite`: loads a network as a Keras model and writes it in the forms that are asked for.

`python -m scenerec.export.conversion.tf_lite_worker FOLDER`: reads FOLDER/request.json and what lies beside it; writes
FORM.tflite for each, or failure.txt.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scenerec.errors import ModelError, first_line
from scenerec.export.conversion.child_process import answer
from scenerec.export.conversion.tf_lite import CALIBRATION_FILE, Form, TfLiteRequest
from scenerec.export.conversion.tf_onnx import WEIGHTS_FILE
from scenerec.export.conversion.tf_onnx_worker import load
from scenerec.large_imports import large_imports

with large_imports():
    from scenerec.models import torch_model  # noqa: F401  # isort: skip  (torchvision goes before tensorflow, or it aborts)
    import keras  # isort: skip
    import tensorflow as tf


def main(folder: Path) -> int:
    """Writes the forms of the request in `folder`; returns the exit code (see `child_process.answer`)."""

    def work(request: TfLiteRequest) -> None:
        network = load(request.network, folder / WEIGHTS_FILE).model
        if _ends_with_softmax(network):
            raise ModelError("ends with a softmax, and a bundle gives logits: save the model without it")
        for form in request.forms:
            (folder / f"{form}.tflite").write_bytes(convert(network, request, form, folder / CALIBRATION_FILE))

    return answer(folder, TfLiteRequest, work)


def convert(network: keras.Model, request: TfLiteRequest, form: Form, calibration: Path) -> bytes:
    """Converts `network`, which takes normalised float32 [batch, height, width, 3], to the content of a TFLite file.

    Raises ModelError where the converter fails.
    """
    size = request.network.image_size
    mean, std = np.array(request.mean) * 255, np.array(request.std) * 255
    # An integer network's input gets its type from the converter.
    images = keras.Input((size, size, 3), batch_size=1, dtype="float32" if form == "int8" else "uint8", name="images")
    floats = images if form == "int8" else keras.ops.cast(images, "float32")
    pixels = keras.layers.Normalization(axis=-1, mean=mean, variance=np.square(std))(floats)
    body = _split_hard_swish(network) if form == "int8" else network
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(images, body(pixels, training=False)))
    if form != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":
        converter.representative_dataset = lambda: _feeds(calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    try:
        return converter.convert()
    except Exception as error:  # of several classes
        raise ModelError(f"TensorFlow's converter fails at {form}: {first_line(error)}") from None


@keras.saving.register_keras_serializable("scenerec")
class SplitHardSwish(keras.layers.Layer):
    """Computes x relu6(x + 3) / 6 in additions and multiplications.

    XNNPACK has no hard-swish in int8: with it MobileNetV3 falls into 21 pieces between slower kernels, and takes 1.4
    times as long. The divisor is a hair off 6, or the converter would put the operator together again.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the function of every element of `x`."""
        return tf.nn.relu6(x + 3.0) * (x * 0.16665)


def _split_hard_swish(network: keras.Model) -> keras.Model:
    """The same network with SplitHardSwish; itself where it has no hard-swish."""
    if not any(map(_is_hard_swish, network.layers)):
        return network

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if _is_hard_swish(layer):
            return SplitHardSwish(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    cloned = keras.models.clone_model(network, clone_function=clone)
    cloned.set_weights(network.get_weights())
    return cloned


def _ends_with_softmax(network: keras.Model) -> bool:
    last = network.layers[-1]
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax


def _is_hard_swish(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.hard_silu


def _feeds(calibration: Path) -> Iterator[list[np.ndarray]]:
    for image in np.load(calibration):
        yield [image[np.newaxis].astype(np.float32)]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
