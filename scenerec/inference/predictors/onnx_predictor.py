"""ONNX models in onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import Bundle, Preprocessing


class OnnxPredictor:
    """A bundle's model as a `Predictor`.

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
        self.image_size = bundle.info.preprocessing.image_size
        self.eval_crop_ratio = bundle.info.preprocessing.eval_crop_ratio
        self.preprocessing = bundle.info.preprocessing
        self.session = open_session(bundle.model_file, threads, providers)
        self.input_name = self.session.get_inputs()[0].name
        batch = self.session.get_inputs()[0].shape[0]
        self._fixed_batch = batch if isinstance(batch, int) else None

    def logits(self, images: np.ndarray) -> np.ndarray:
        """See Predictor."""
        return self._answer("logits", images)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8 RGB [n, image_size, image_size, 3] -> float32 [n, classes], from the graph's own softmax."""
        return self._answer("probabilities", images)

    def prepared(self, images: np.ndarray) -> np.ndarray:
        """uint8 RGB [n, image_size, image_size, 3] -> the graph's input."""
        return network_input(images, self.preprocessing)

    @property
    def metadata(self) -> dict[str, str]:
        """What the graph says of itself."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def _answer(self, output: str, images: np.ndarray) -> np.ndarray:
        if self._fixed_batch is None:
            return self._run(output, images)
        # Batches of the one size that the graph takes, the last filled up with black images.
        size, count = self._fixed_batch, len(images)
        filled = np.concatenate([images, np.zeros((-count % size, *images.shape[1:]), images.dtype)])
        return np.concatenate([self._run(output, filled[at : at + size]) for at in range(0, count, size)])[:count]

    def _run(self, output: str, images: np.ndarray) -> np.ndarray:
        (answer,) = self.session.run([output], {self.input_name: self.prepared(images)})
        return np.asarray(answer, dtype=np.float32)


def network_input(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 RGB [n, size, size, 3] -> the same, or float32 [n, 3, size, size] where the graph does not normalise."""
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
    """An onnxruntime session with all graph optimisations.

    `weights_folder` holds the files of weights that a model given as bytes refers to. Raises BundleError where the
    model does not load.
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
        reason = str(error).strip().splitlines()[0]
        where = "the model" if isinstance(model, bytes) else str(model)
        raise BundleError(f"{where}: onnxruntime does not load it: {reason}") from None
