"""Class activation maps: where in an image a network sees a class, from a bundle's ONNX graph alone.

Where the logits follow linearly from the mean of the last feature map, a class's logit is the mean, over positions, of
what the head gives for each position's features; these make the map (Zhou et al. 2016, "Learning Deep Features for
Discriminative Localization"). A head of several layers is applied to each position in the same way. Then the mean is
not quite the logit. Maps of what the logit loses without a position were no better at finding the quadrant of an image
that shows another scene: in 100 such images their peak lay in it 65 times instead of 67 for a small MobileNetV3, and 70
instead of 78 for a small ConvNeXt, whose head begins with a LayerNorm (they do follow occlusion more closely there).

Exported at 96 px (maxvit_t and ViT at 224), each with random weights, and cut by this module:

    yes   convnext_tiny, densenet121, efficientnet_b0, googlenet, mnasnet0_5, mobilenet_v3_large and _small,
          regnet_y_400mf, resnet18, shufflenet_v2_x1_0, squeezenet1_1; swin_t and maxvit_t too, whose patches keep
          their places: the head, given the mean features, gives the model's logits within 5e-7 of their scale; at
          64 px timm's convnextv2_atto, mobilenetv4_conv_small and regnety_002 likewise
    int8  mobilenet_v3_small, trained: maps correlate with those in float32 by 0.94 and more
    no    vit_b_16 and _32, whose classes are read off a token; alexnet, as VGG, whose layers weight each position
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto
from PIL import Image

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import TFLITE_FILE
from scenerec.inference.explain.overlay import render
from scenerec.inference.explain.pooling import NoHeatMapError, features_model, find_pooling, head_model
from scenerec.inference.predictors.onnx_predictor import network_input, open_session

__all__ = ["ActivationMapper", "NoHeatMapError", "explains", "render"]

_ELEMENT_TYPES = {"tensor(float)": TensorProto.FLOAT, "tensor(float16)": TensorProto.FLOAT16}


def explains(model_file: Path) -> bool:
    """Whether a bundle's model has heat maps, by its graph alone. Raises BundleError where the file is no model."""
    try:
        find_pooling(_load(model_file))
    except NoHeatMapError:
        return False
    return True


class ActivationMapper:
    """Draws heat maps of one model, from any thread.

    It holds the weights a second time, in a session that ends at the feature map.

    Args:
        bundle: of format onnx.
        threads: of the operators; 0 takes all cores.

    Raises:
        NoHeatMapError: the architecture has none; the message says why.
        BundleError: onnxruntime does not load the model.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        try:
            model = _load(bundle.model_file)
            self._pooling = find_pooling(model)
        except NoHeatMapError as error:
            raise NoHeatMapError(f"{bundle.url}: has no heat maps: {error}") from None
        self._preprocessing = bundle.info.preprocessing
        before = features_model(model, self._pooling)
        self._features = open_session(before.SerializeToString(), threads, weights_folder=bundle.folder)
        batch = self._features.get_inputs()[0].shape[0]
        self._batch = batch if isinstance(batch, int) else 1
        element_type = _ELEMENT_TYPES[self._features.get_outputs()[0].type]
        behind = head_model(model, self._pooling, element_type)
        self._head = open_session(behind.SerializeToString(), threads, weights_folder=bundle.folder)

    def heat_map(self, image: np.ndarray, class_index: int) -> np.ndarray:
        """Shows how much each place in a prepared image speaks for a class, against the image's other places.

        Args:
            image: uint8 RGB [image_size, image_size, 3].
            class_index: of the bundle's labels.

        Returns:
            float32 [image_size, image_size]; 0 where the evidence is least, 1 where it is most; 0 everywhere where it
            is the same.
        """
        evidence = self.evidence(image)[..., class_index]
        smooth = np.asarray(Image.fromarray(evidence).resize(image.shape[1::-1], Image.Resampling.BILINEAR))
        lowest, highest = smooth.min(), smooth.max()
        if not highest > lowest:
            return np.zeros_like(smooth)
        return (smooth - lowest) / (highest - lowest)

    def evidence(self, image: np.ndarray) -> np.ndarray:
        """Computes the logits of each position in the feature map: float32 [rows, columns, classes].

        The image is as `heat_map` takes it.

        For a linear head, their mean over the positions is the image's logits.
        """
        images = np.broadcast_to(image, (self._batch, *image.shape))
        (maps,) = self._features.run(None, {_input(self._features): network_input(images, self._preprocessing)})
        features = maps[0] if self._pooling.channels_last else maps[0].transpose(1, 2, 0)
        rows, columns, channels = features.shape
        pooled_shape: tuple[int, ...] = (channels,)
        if self._pooling.keeps_axes:
            pooled_shape = (1, 1, channels) if self._pooling.channels_last else (channels, 1, 1)
        positions = features.reshape(rows * columns, *pooled_shape)
        (logits,) = self._head.run(None, {_input(self._head): positions})
        return logits.astype(np.float32).reshape(rows, columns, -1)


def _input(session: onnxruntime.InferenceSession) -> str:
    return session.get_inputs()[0].name


def _load(model_file: Path) -> ModelProto:
    """Without weights that are in other files."""
    if model_file.name == TFLITE_FILE:
        raise NoHeatMapError("it is a TFLite model: take a bundle of format onnx")
    try:
        return onnx.load(model_file, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise BundleError(f"{model_file}: is no ONNX model: {type(error).__name__}") from None
