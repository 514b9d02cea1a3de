"""ONNX bundles in int8: the float32 graph is verified, then quantised by the recipe that the gates let through."""

import platform
from typing import Literal

from scenerec.export.formats.onnx_float import complete, describe_graph, verified
from scenerec.export.graphs import network_graph
from scenerec.export.job import ExportJob, Product
from scenerec.export.options import Options
from scenerec.export.quantization import int8_search
from scenerec.export.verification import gate
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.precision import Precision

_KINDS: dict[str, Literal["static", "dynamic"]] = {"int8": "static", "int8-dynamic": "dynamic"}


def make(job: ExportJob) -> Product:
    """Makes an ONNX model in int8 whose activations' scales are static or found at each call.

    Raises:
        ConfigError: options that do not go together, or no images to verify, calibrate or measure on.
        ModelError: the network cannot be converted; the message names operators and modules.
        BundleError: the graph in float32 does not answer as the network, or no form in int8 passes its gates.
        DataError, StorageError: the sets cannot be read.
    """
    options, train, val = job.options, job.training_set(), job.validation_set()
    completed = complete(job)
    float_info = describe_graph(job, completed.model, completed.route, "fp32")
    with job.step("verification"):
        gate(job.destination, verified(job, completed, completed.model, float_info).verification, "fp32")
    with job.step("int8"):
        bundle = Bundle(job.folder, float_info, job.destination)
        quantized = int8_search.quantize_bundle(bundle, train, val, _settings(options), job.say)
    batch = options.target.batch
    model = network_graph.fix_batch(quantized.model, batch) if batch else quantized.model
    model = network_graph.with_unknown_places(model)
    precision: Precision = "int8-dynamic" if _KINDS[options.precision] == "dynamic" else "int8"
    info = describe_graph(job, model, completed.route, precision, quantized.report)
    with job.step("verification of int8"):
        return verified(job, completed, model, info)


def _settings(options: Options) -> int8_search.Settings:
    """A model for another kind of machine is not timed on this one."""
    target = options.target
    return int8_search.Settings(
        kind=_KINDS[options.precision],
        activations=target.activations,
        per_channel=(True, False) if target.per_channel else (False,),
        calibration_images=options.calibration_images,
        max_top1_drop=options.max_top1_drop,
        thorough=options.thorough,
        min_speedup=int8_search.Settings.min_speedup if platform.machine() in target.machines else None,
    )
