"""The story of an export: a network becomes a graph, which is cleaned, completed, verified, and packed as a bundle."""

import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import ModelProto, helper

from scenerec import __version__
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import BundleError, ConfigError, DataError, StorageError
from scenerec.export.conversion import child_process, tf_lite, tf_onnx, torch_onnx
from scenerec.export.graphs import network_graph, optimize
from scenerec.export.quantization import int8_search
from scenerec.export.reference import open_reference
from scenerec.export.source import KerasNetwork, Source, TorchNetwork, with_places
from scenerec.export.targets import ANY, Precision, Target
from scenerec.export.verification import IMAGES, compare, gate, verification_images
from scenerec.inference.bundles.bundle import (
    GOLDEN_FILE,
    TFLITE_FILE,
    Bundle,
    BundleInfo,
    Golden,
    Lineage,
    TensorContract,
    Verification,
    write_bundle,
)
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor, open_session
from scenerec.inference.predictors.predictor import Predictor
from scenerec.inference.predictors.tflite_predictor import TflitePredictor
from scenerec.inference.predictors.torch_predictor import TorchPredictor, build

RouteChoice = Literal["auto", "tf2onnx", "twin"]
Route = Literal["torch", "tf2onnx", "twin", "tflite"]

GOLDEN_IMAGES = 8
FLOAT_PRECISIONS = ("fp32", "fp16")
_KINDS: dict[Precision, Literal["static", "dynamic"]] = {"int8": "static", "int8-dynamic": "dynamic"}
_X86 = ("x86_64", "AMD64")


@dataclass(frozen=True)
class Options:
    """How to export."""

    precision: Precision = "fp32"
    target: Target = ANY
    route: RouteChoice = "auto"
    """How a TensorFlow network becomes ONNX: by tf2onnx, or its weights through the torch twin; `auto` tries both."""
    opset: int = 18
    data: str | None = None
    """Packed set with the images to verify on; by default the run's validation set."""
    images: int = IMAGES
    limits: child_process.ChildLimits = tf_onnx.LIMITS
    """Of tf2onnx's process."""
    calibration_data: str | None = None
    """Packed set that int8's ranges are measured on; by default the run's training set."""
    calibration_images: int = 256
    """How many of its images."""
    max_top1_drop: float = 0.5
    """Top-1 accuracy that int8 and TFLite may lose on the whole validation set, in points."""


@dataclass(frozen=True)
class Step:
    """A step that begins, or is done."""

    name: str
    seconds: float | None = None
    """That it took; None where it begins."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was written."""

    url: str
    info: BundleInfo
    model: ModelProto | None
    """None where it is no ONNX model."""


Say = Callable[[Step | str], None]


def export(source: Source, destination: str, options: Options, say: Say = lambda _: None) -> Exported:
    """Exports `source` to a bundle at `destination`, a folder or s3:// prefix.

    Nothing is written there unless onnxruntime's answers are those of the framework; in int8 and for TFLite, unless
    the accuracy is about the same (see `int8_search`, `tf_lite`). `say` hears of the steps, of
    what was tried, and of what went otherwise than asked for.

    Raises:
        ConfigError: options that do not go together, or no images to verify on.
        ModelError: the network cannot be converted; the message names operators and modules.
        BundleError: the graph does not answer as the network, or something else is at `destination`.
        DataError, StorageError: of the images, of the destination.
    """
    source = _placed(source, options, say)
    if options.precision.startswith("tflite"):
        return _export_tflite(source, destination, options, say)
    sets = None if options.precision in FLOAT_PRECISIONS else _open_sets(source, options)
    with _step("images to verify on", say):
        images = verification_images(source, options.data, options.images)
    with _step("network", say):
        reference = open_reference(source)
    with _step("ONNX graph", say):
        network, route = _convert(source, reference, options, say)
    softmax_removed = any(entry.key == tf_onnx.SOFTMAX_REMOVED for entry in network.metadata_props)
    _check_classes(source, network)
    with _step("clean-up", say):
        model = network_graph.complete(_cleaned(network), source.preprocessing)
    if options.precision == "fp16":
        with _step("half precision", say):
            model = optimize.half(model)
    if sets is None:
        model = _suited(model, options.target, say)
    with tempfile.TemporaryDirectory(prefix="scenerec-export-") as folder:
        opened, files = _opened(model, _describe(source, model, route, options), destination, Path(folder))
        predictor = OnnxPredictor(opened)
        with _step("verification", say):
            verification = compare(reference, predictor, images, probabilities=softmax_removed)
            gate(destination, verification, "fp16" if options.precision == "fp16" else "fp32")
        if sets is not None:
            with _step("int8", say):
                quantized = int8_search.quantize_bundle(opened, *sets, _int8_settings(options), say)
            batch = options.target.batch
            model = network_graph.fix_batch(quantized.model, batch) if batch else quantized.model
            info = _describe(source, model, route, options, quantized.report)
            opened, files = _opened(model, info, destination, Path(folder))
            predictor = OnnxPredictor(opened)
            verification = compare(reference, predictor, images, probabilities=softmax_removed)
        with _step("bundle", say):
            info = _write(opened.info, files, predictor, images, verification, destination)
    return Exported(destination, info, model)


def _export_tflite(source: Source, destination: str, options: Options, say: Say) -> Exported:
    if not source.preprocessing.in_graph:
        raise ConfigError("--plain-input: is for ONNX: a TFLite model takes images")
    precision: Literal["int8", "fp16"] = "int8" if options.precision == "tflite-int8" else "fp16"
    train, val = _open_sets(source, options) if precision == "int8" else (None, _open_validation_set(source, options))
    with _step("images to verify on", say):
        images = verification_images(source, options.data, options.images)
    with _step("network", say):
        reference = open_reference(source)
    settings = tf_lite.Settings(options.calibration_images, options.max_top1_drop)
    with _step("TFLite", say):
        converted = tf_lite.make(source, precision, reference, train, val, settings, say)
    with tempfile.TemporaryDirectory(prefix="scenerec-export-") as folder:
        file = Path(folder) / TFLITE_FILE
        file.write_bytes(converted.model)
        info = _tflite_info(source, converted, precision, options)
        predictor = TflitePredictor(Bundle(Path(folder), info, destination))
        with _step("verification", say):
            verification = compare(reference, predictor, images)
        with _step("bundle", say):
            info = _write(info, [file], predictor, images, verification, destination)
    return Exported(destination, info, None)


def _placed(source: Source, options: Options, say: Say) -> Source:
    """With the places of the training set or, where there is none, of a set that is named.

    No answer of the model depends on them, so that a set which is gone by now hinders no export.
    """
    where = source.training_set or options.calibration_data or options.data
    if where is None:
        return source
    try:
        return with_places(source, where)
    except (DataError, StorageError) as error:
        say(f"without indoors or outdoors and categories of the labels: {error}")
        return source


def default_destination(source: Source, options: Options) -> str:
    """Beside the run: RUN/bundles/PRECISION, or TARGET-PRECISION. Raises ConfigError for what has no run."""
    if source.run_url is None:
        raise ConfigError(f"{source.address}: is of no run: name the bundle's folder with -o DEST")
    prefix = "" if options.target is ANY else f"{options.target.name}-"
    return f"{source.run_url}/bundles/{prefix}{options.precision}"


def check_opset(opset: int, written: range, writer: str) -> None:
    """Raises ConfigError unless `writer` and the installed onnxruntime both know the operator set."""
    if opset not in written:
        raise ConfigError(f"--opset {opset}: {writer} writes {written[0]} to {written[-1]}")
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    nothing = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "nothing", [value], [])
    nothing.output.append(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    model = helper.make_model(nothing, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    try:
        open_session(model.SerializeToString())
    except BundleError:
        raise ConfigError(f"--opset {opset}: the installed onnxruntime does not know it: take a lower one") from None


def _convert(source: Source, reference: Predictor, options: Options, say: Say) -> tuple[ModelProto, Route]:
    """The network graph, and the way it went."""
    size, opset = source.preprocessing.image_size, options.opset
    if _by_tf2onnx(source, options.route):
        check_opset(opset, tf_onnx.OPSETS, "tf2onnx")
        try:
            return _through_tf2onnx(source, options), "tf2onnx"
        except tf_onnx.ConversionError as error:
            if options.route == "tf2onnx" or isinstance(source.network, KerasNetwork):
                raise
            say(f"through the torch twin, as tf2onnx gives up: {str(error).removesuffix(': use --route twin')}")
    check_opset(opset, torch_onnx.OPSETS, "torch's exporter")
    if isinstance(reference, TorchPredictor):
        return torch_onnx.convert(reference.network, size, opset), "torch"
    assert not isinstance(source.network, KerasNetwork | TorchNetwork)
    return torch_onnx.convert(build(source.network), size, opset), "twin"


def _by_tf2onnx(source: Source, route: RouteChoice) -> bool:
    if isinstance(source.network, TorchNetwork) and route == "tf2onnx":
        raise ConfigError("--route tf2onnx: is for TensorFlow: leave it out for a torch module")
    if isinstance(source.network, KerasNetwork):
        if route == "twin":
            raise ConfigError("--route twin: only networks that scenerec built have a torch twin")
        return True
    return route == "tf2onnx" or (route == "auto" and source.framework == "tensorflow")


def _through_tf2onnx(source: Source, options: Options) -> ModelProto:
    size, network = source.preprocessing.image_size, source.network
    if isinstance(network, KerasNetwork):
        return tf_onnx.convert_keras(network.path, size, options.opset, options.limits)
    assert not isinstance(network, TorchNetwork)
    return tf_onnx.convert_twin(network.arch, network.classes, size, network.state, options.opset, options.limits)


def _cleaned(network: ModelProto) -> ModelProto:
    """Optimisers serialise the whole graph, which beyond protobuf's limit they cannot: it then stays as it is."""
    return optimize.clean(network) if network_graph.weight_bytes(network) <= network_graph.PROTOBUF_BYTES else network


def _check_classes(source: Source, network: ModelProto) -> None:
    classes = network_graph.axes(network.graph.output[0])[1]
    if classes != len(source.labels):
        raise ConfigError(f"{source.address}: gives {classes} logits, but --labels names {len(source.labels)} classes")


def _suited(model: ModelProto, target: Target, say: Say) -> ModelProto:
    """As `target` wants it."""
    if target.batch:
        model = network_graph.fix_batch(model, target.batch)
    if target.offline:
        with _step("onnxruntime's fusions", say):
            model = optimize.offline(model)
    return model


def _open_sets(source: Source, options: Options) -> tuple[PackedSet, PackedSet]:
    """For calibration, and for the accuracy. Raises ConfigError, DataError, StorageError."""
    train = options.calibration_data or source.training_set
    if train is None:
        raise ConfigError(f"{source.address}: no images to calibrate on: name a packed set with --calibration-data")
    return open_set(train), _open_validation_set(source, options)


def _open_validation_set(source: Source, options: Options) -> PackedSet:
    where = options.data or source.validation_set
    if where is None:
        raise ConfigError(f"{source.address}: no images to measure the accuracy on: name a packed set with --data")
    return open_set(where)


def _int8_settings(options: Options) -> int8_search.Settings:
    """A model for another kind of machine is not timed on this one."""
    target = options.target
    runs_here = target is ANY or target.name == ("cpu-x86" if platform.machine() in _X86 else "cpu-arm")
    return int8_search.Settings(
        kind=_KINDS[options.precision],
        activations="int8" if target.activations == "int8" else "uint8",
        per_channel=(True, False) if target.per_channel else (False,),
        calibration_images=options.calibration_images,
        max_top1_drop=options.max_top1_drop,
        min_speedup=int8_search.Settings.min_speedup if runs_here else None,
    )


def _opened(model: ModelProto, info: BundleInfo, destination: str, folder: Path) -> tuple[Bundle, list[Path]]:
    """Saves `model`; the bundle that it is about to be, and its files."""
    return Bundle(folder, info, destination), network_graph.save(model, folder)


def _write(
    info: BundleInfo,
    files: list[Path],
    predictor: Predictor,
    images: np.ndarray,
    verification: Verification,
    destination: str,
) -> BundleInfo:
    golden = Golden(images[:GOLDEN_IMAGES], predictor.logits(images[:GOLDEN_IMAGES]))
    info = info.model_copy(update={"verification": verification})
    return write_bundle(destination, info, {**{file.name: file for file in files}, GOLDEN_FILE: golden.to_bytes()})


def _describe(
    source: Source, model: ModelProto, route: Route, options: Options, quantization: dict[str, Any] | None = None
) -> BundleInfo:
    inputs, outputs = network_graph.contracts(model)
    precision = options.precision if quantization or options.precision == "fp16" else "fp32"
    return BundleInfo(
        **_common(source, route, options),
        precision=precision,
        inputs=inputs,
        outputs=outputs,
        opset=network_graph.opset_of(model),
        quantization=quantization or {},
    )


def _tflite_info(
    source: Source, converted: tf_lite.Converted, precision: Literal["int8", "fp16"], options: Options
) -> BundleInfo:
    size = source.preprocessing.image_size
    return BundleInfo(
        **_common(source, "tflite", options),
        format="tflite",
        precision=precision,
        inputs=(TensorContract(name="images", dtype="uint8", shape=(1, size, size, 3)),),
        outputs=(TensorContract(name=network_graph.LOGITS, dtype="float32", shape=(1, len(source.labels))),),
        quantization=converted.report,
    )


def _common(source: Source, route: Route, options: Options) -> dict[str, Any]:
    """What bundle.json says of any model."""
    arch = None if isinstance(source.network, KerasNetwork | TorchNetwork) else source.network.arch
    return {
        "name": source.name,
        "target": options.target.name,
        "labels": source.labels,
        "places": source.places,
        "preprocessing": source.preprocessing,
        "metrics": source.metrics or {},
        "lineage": Lineage(
            framework=source.framework,
            arch=arch,
            source=source.address,
            route=route,
            config=source.config or {},
            dataset_fingerprint=source.dataset_fingerprint,
            scenerec=__version__,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    }


@contextmanager
def _step(name: str, say: Say) -> Iterator[None]:
    say(Step(name))
    started = time.perf_counter()
    yield
    say(Step(name, time.perf_counter() - started))
