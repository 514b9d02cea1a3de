"""Bundles' ONNX models that answer, in onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime
from typing_extensions import override

from scenerec.errors import BundleError, first_line
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import EMBEDDING, Preprocessing
from scenerec.inference.predictors.predictor import Predictor, in_batches_of, place_inputs
from scenerec.models.geo import COORDINATES, KNOWN


class OnnxPredictor(Predictor):
    """A bundle's ONNX model in onnxruntime.

    Args:
        bundle: of format onnx.
        threads: of the operators; 0 leaves the choice to onnxruntime (all cores).
        providers: execution providers in order of preference.

    Raises:
        BundleError: onnxruntime does not load the model.
    """

    def __init__(
        self, bundle: Bundle, threads: int = 0, providers: tuple[str, ...] = ("CPUExecutionProvider",)
    ) -> None:
        self.name = bundle.url
        self.labels = bundle.info.labels
        self.preprocessing = bundle.info.preprocessing
        self.image_size = self.preprocessing.image_size
        self.eval_crop_ratio = self.preprocessing.eval_crop_ratio
        self.interpolation = self.preprocessing.interpolation
        self.session = open_session(bundle.model_file, threads, providers)
        self.takes_coordinates = bundle.info.takes_coordinates
        self.temperature, self.abstain_below = bundle.info.temperature, bundle.info.abstain_below
        self.task, self.label_thresholds = bundle.info.task, bundle.info.label_thresholds
        self.input_name = self.session.get_inputs()[0].name
        self.output_name = EMBEDDING if self.task == "embedding" else "logits"
        self._names = (self.input_name, COORDINATES, KNOWN) if self.takes_coordinates else (self.input_name,)
        batch = self.session.get_inputs()[0].shape[0]
        self._fixed_batch = batch if isinstance(batch, int) else None

    @override
    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        return in_batches_of(self._fixed_batch, self._run, *self.feeds(images, coordinates).values())

    def feeds(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The graph's inputs by name, of uint8 RGB images [n, image_size, image_size, 3].

        `coordinates` are as in `logits`.
        """
        places = place_inputs(coordinates, len(images)) if self.takes_coordinates else ()
        return dict(zip(self._names, (network_input(images, self.preprocessing), *places), strict=True))

    @property
    def metadata(self) -> dict[str, str]:
        """Notes that the graph carries with it, by key."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def _run(self, *inputs: np.ndarray) -> np.ndarray:
        (answer,) = self.session.run([self.output_name], dict(zip(self._names, inputs, strict=True)))
        return np.asarray(answer, dtype=np.float32)


def network_input(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Turns uint8 RGB images [n, size, size, 3] into what a bundle's graph takes.

    These are the images themselves or, where the graph does not normalise, float32 [n, 3, size, size].
    """
    if preprocessing.in_graph:
        return images
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    return np.ascontiguousarray(((images.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2))


def open_session(
    model: Path | bytes,
    threads: int = 0,
    providers: tuple[str, ...] = ("CPUExecutionProvider",),
    weights_folder: Path | None = None,
) -> onnxruntime.InferenceSession:
    """Opens an onnxruntime session with all graph optimisations.

    Args:
        model: a file, or the content of one.
        threads: of the operators; 0 leaves the choice to onnxruntime.
        providers: execution providers in order of preference.
        weights_folder: holds the files of weights that a model given as bytes refers to.

    Raises:
        BundleError: the model does not load.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if weights_folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights_folder))
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=list(providers)
        )
    except Exception as error:  # onnxruntime has an error class for each of its codes
        where = "the model" if isinstance(model, bytes) else str(model)
        raise BundleError(f"{where}: onnxruntime does not load it: {first_line(error)}") from None
