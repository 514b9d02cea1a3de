"""Any network that answers, opened by its address: runs, checkpoints, bundles, TFLite files."""

import tempfile
from pathlib import Path

from scenerec.config.location import expand_location
from scenerec.errors import ConfigError, ModelError
from scenerec.inference.bundles.bundle import INFO_FILE, Bundle, open_bundle
from scenerec.inference.predictors.predictor import NetworkInfo, Predictor
from scenerec.inference.predictors.trained_model import Framework, ZooNetwork, load_trained
from scenerec.storage import open_storage, split_url

CPU = ("CPUExecutionProvider",)
"""The execution providers of a machine without a GPU."""


def open_predictor(
    target: str, framework: Framework | None = None, threads: int = 0, checkpoint: str = "best"
) -> Predictor:
    """Opens a run's folder, a checkpoint, a bundle or a `.tflite` file, local or s3://.

    A checkpoint predicts with its averaged weights where it has them: they are what its run validated.

    Args:
        target: the address.
        framework: that computes a checkpoint; by default the one that wrote it.
        threads: that compute; 0 leaves the choice to the runtime.
        checkpoint: of a run: `best`, `last` or a name.

    Raises:
        ConfigError: the address is none, or `framework` is given for what has none.
        ModelError, CheckpointError, BundleError: there is no such thing, or it is damaged.
        StorageError: the store does not answer.
    """
    try:
        target = expand_location(target)
    except ValueError as error:
        raise ConfigError(f"{target}: {error}") from None
    is_bundle = open_storage(target).size(INFO_FILE) is not None
    if framework and (is_bundle or target.endswith(".tflite")):
        raise ConfigError(f"{target}: runs without a framework: leave --framework out")
    if target.endswith(".tflite"):
        return _open_tflite(target, threads)
    if is_bundle:
        return predictor_of(open_bundle(target), threads)
    model = load_trained(target, checkpoint)
    info = NetworkInfo(model.url, model.labels, model.preprocessing, model.task)
    return open_network(model.network, framework or model.framework, info, threads, device=None)


def open_network(
    network: ZooNetwork, framework: Framework, info: NetworkInfo, threads: int = 0, device: str | None = "cpu"
) -> Predictor:
    """Builds a network of the zoo in one of the frameworks, which only then is imported.

    Args:
        network: architecture and weights; without a head its logits are the features.
        framework: computes it.
        info: what is known of it.
        threads: that compute; 0 leaves the choice to the framework.
        device: where torch computes; None takes the GPU where there is one. TensorFlow chooses for itself.

    Raises:
        StateError: the weights do not fit the architecture.
    """
    if framework == "tensorflow":
        from scenerec.inference.predictors import tf_predictor

        return tf_predictor.load(network, info, threads)
    from scenerec.inference.predictors import torch_predictor

    return torch_predictor.load(network, info, threads, device or torch_predictor.default_device())


def _open_tflite(target: str, threads: int) -> Predictor:
    folder, key = split_url(target)
    storage = open_storage(folder)
    if storage.size(key) is None:
        raise ModelError(f"{target}: no such file")
    from scenerec.inference.predictors.tflite_predictor import TflitePredictor

    if not target.startswith("s3://"):
        return TflitePredictor(Path(target), threads)
    with tempfile.TemporaryDirectory(prefix="scenerec-tflite-") as temporary:
        file = Path(temporary) / key
        file.write_bytes(storage.get(key))
        return TflitePredictor(file, threads, name=target)  # LiteRT holds the file open


def predictor_of(bundle: Bundle, threads: int = 0, providers: tuple[str, ...] = CPU) -> Predictor:
    """Opens a bundle's model.

    Args:
        bundle: from `open_bundle`.
        threads: of the operators; 0 leaves their number to the runtime.
        providers: onnxruntime's execution providers in order of preference; other runtimes compute on the CPU.

    Raises:
        BundleError: the model does not load.
    """
    match bundle.info.format:  # a runtime takes a second to import: each is imported where it is first needed
        case "onnx":
            from scenerec.inference.predictors.onnx_predictor import OnnxPredictor

            return OnnxPredictor(bundle, threads, providers)
        case "tflite":
            from scenerec.inference.predictors.tflite_predictor import TflitePredictor

            return TflitePredictor(bundle, threads)
