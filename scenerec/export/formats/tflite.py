"""TFLite bundles for the edge, in int8 and float16: one uint8 image in, logits out."""

from dataclasses import asdict
from typing import Any, Literal

from scenerec.errors import ConfigError
from scenerec.export.description import describe
from scenerec.export.graphs.network_graph import IMAGES, LOGITS
from scenerec.export.job import ExportJob, Product
from scenerec.export.quantization import tflite_ladder
from scenerec.export.reference import open_reference
from scenerec.export.verification import compare, golden_of, verification_images
from scenerec.export.xnnpack_plan import xnnpack_plan
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import TFLITE_FILE, BundleInfo, TensorContract
from scenerec.inference.predictors.tflite_predictor import TflitePredictor


def make(job: ExportJob) -> Product:
    """Makes a TFLite model in int8 or float16.

    Raises:
        ConfigError: options that do not go together, or no images to verify, calibrate or measure on.
        ModelError: the network has no Keras form, or the converter fails.
        BundleError: no form passes the gate.
        DataError, StorageError: the sets cannot be read.
    """
    source, options = job.source, job.options
    if not source.preprocessing.in_graph:
        raise ConfigError("--plain-input: is for ONNX: a TFLite model takes images")
    if source.takes_coordinates:
        raise ConfigError(f"{source.address}: reads coordinates, and a TFLite model takes images alone: export ONNX")
    precision: Literal["int8", "fp16"] = "int8" if options.precision == "tflite-int8" else "fp16"
    train = job.training_set() if precision == "int8" else None
    val = job.validation_set()
    with job.step("images to verify on"):
        images = verification_images(source, options.data, options.images)
    with job.step("network"):
        reference = open_reference(source)
    settings = tflite_ladder.Settings(options.calibration_images, options.max_top1_drop)
    with job.step("TFLite"):
        converted = tflite_ladder.make(source, precision, reference, train, val, settings, job.say)
    plan = xnnpack_plan(converted.model)
    job.say(str(plan))
    file = job.folder / TFLITE_FILE
    file.write_bytes(converted.model)
    info = _describe(job, precision, {**converted.report, "xnnpack": asdict(plan)})
    with job.step("verification"):
        predictor = TflitePredictor(Bundle(job.folder, info, job.destination))
        info = info.model_copy(update={"verification": compare(reference, predictor, images)})
    return Product(info, [file], golden_of(predictor, images))


def _describe(job: ExportJob, precision: Literal["int8", "fp16"], report: dict[str, Any]) -> BundleInfo:
    size, classes = job.source.preprocessing.image_size, len(job.source.labels)
    inputs = (TensorContract(name=IMAGES, dtype="uint8", shape=(1, size, size, 3)),)
    outputs = (TensorContract(name=LOGITS, dtype="float32", shape=(1, classes)),)
    return describe(job, "tflite", inputs, outputs, precision, "tflite", quantization=report)
