"""TFLite models that answer, in the LiteRT interpreter."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from typing_extensions import override

from scenerec.errors import BundleError, first_line
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.predictor import Predictor, in_batches_of
from scenerec.models.preprocessing import IMAGENET


class TflitePredictor(Predictor):
    """A bundle's model, or a bare `.tflite` file, in the LiteRT interpreter.

    A bundle's input takes pixel values from 0 to 255, and so does an integer input of a bare file (quantised by the
    input's parameters, where it has some); a float input of a bare file takes pixels normalised by ImageNet's mean and
    deviation. An integer output is turned into float32 by its own parameters.

    Args:
        source: a bundle of format tflite, or a file.
        threads: of the operators; 0 takes all cores.
        name: name for people; by default the source's address.

    Raises:
        BundleError: LiteRT does not load the model, or it is no classifier of square images.
    """

    def __init__(self, source: Bundle | Path, threads: int = 0, name: str | None = None) -> None:
        path = source if isinstance(source, Path) else source.model_file
        self.name = name or (str(path) if isinstance(source, Path) else source.url)
        self._interpreter = _load(path, threads or os.cpu_count() or 1)
        (self._input, *others), outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._output = outputs[0]
        shape, answer = self._input["shape_signature"], self._output["shape_signature"]
        if others or len(outputs) != 1 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or len(answer) != 2:
            raise BundleError(
                f"{path}: is no classifier of square RGB images: it takes {_describe(self._input, *others)} and gives "
                f"{_describe(*outputs)}"
            )
        self.image_size = int(shape[1])
        self._fixed_batch = int(shape[0]) if shape[0] > 0 else None
        mean, std = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
        if isinstance(source, Path):
            self.labels: tuple[str, ...] = ()
            self.eval_crop_ratio = IMAGENET.eval_crop_ratio
            if self._input["dtype"] == np.float32:
                mean, std = IMAGENET.mean, IMAGENET.std
        else:
            self.labels = source.info.labels
            self.temperature, self.abstain_below = source.info.temperature, source.info.abstain_below
            self.task, self.label_thresholds = source.info.task, source.info.label_thresholds
            self.eval_crop_ratio = source.info.preprocessing.eval_crop_ratio
            self.interpolation = source.info.preprocessing.interpolation
        self._mean, self._std = (np.array(values, np.float32) * 255 for values in (mean, std))

    @override
    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        return in_batches_of(self._fixed_batch, self._run, self._prepared(images))

    def _prepared(self, images: np.ndarray) -> np.ndarray:
        """In the type and units of the input."""
        dtype, (scale, zero_point) = self._input["dtype"], self._input["quantization"]
        if dtype == np.uint8 and (scale, zero_point) in ((0, 0), (1, 0)):
            return images
        pixels = (images.astype(np.float32) - self._mean) / self._std
        if scale == 0:
            return pixels.astype(dtype)
        limits = np.iinfo(dtype)
        return np.clip(np.rint(pixels / scale) + zero_point, limits.min, limits.max).astype(dtype)

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        if self._interpreter.get_input_details()[0]["shape"][0] != len(pixels):
            self._interpreter.resize_tensor_input(self._input["index"], pixels.shape)
            self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input["index"], pixels)
        self._interpreter.invoke()
        answer = self._interpreter.get_tensor(self._output["index"])
        scale, zero_point = self._output["quantization"]
        return ((answer.astype(np.float32) - zero_point) * scale) if scale else answer.astype(np.float32)


def _load(path: Path, threads: int) -> Interpreter:
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: LiteRT does not load it: {first_line(error)}") from None
    return interpreter


def _describe(*tensors: dict[str, Any]) -> str:
    return ", ".join(f"{np.dtype(each['dtype']).name} {each['shape_signature'].tolist()}" for each in tensors)
