"""ONNX bundles in float32 and float16: converted, cleaned, completed, suited to the target, verified."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from scenerec.errors import ConfigError
from scenerec.export.description import describe
from scenerec.export.formats.onnx_route import NetworkGraph, convert
from scenerec.export.graphs import network_graph, optimize
from scenerec.export.job import ExportJob, Product
from scenerec.export.reference import open_reference
from scenerec.export.verification import compare, gate, golden_of, verification_images
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import BundleInfo, Route
from scenerec.inference.bundles.precision import Precision
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.predictor import Predictor


@dataclass(frozen=True)
class Completed:
    """A network as a graph that takes photographs, and what the graph is verified by."""

    model: ModelProto
    """Graph in float32, with a symbolic batch."""
    route: Route
    """How the network was converted."""
    reference: Predictor
    """The network in its framework."""
    images: np.ndarray
    """Images to verify on, uint8 [n, image_size, image_size, 3]."""
    gives_probabilities: bool
    """Whether the network ends with a softmax: then probabilities are compared, not logits."""


def make(job: ExportJob) -> Product:
    """Makes an ONNX model in float32 or float16.

    Raises:
        ConfigError: options that do not go together, or no images to verify on.
        ModelError: the network cannot be converted; the message names operators and modules.
        BundleError: the graph does not answer as the network.
        DataError, StorageError: the images cannot be read.
    """
    completed = complete(job)
    model, target = completed.model, job.options.target
    if job.options.precision == "fp16":
        with job.step("half precision"):
            model = optimize.half(model)
    if target.batch:
        model = network_graph.fix_batch(model, target.batch)
    if target.offline:
        with job.step("onnxruntime's fusions"):
            model = optimize.offline(model)
    model = network_graph.with_unknown_places(model)
    info = describe_graph(job, model, completed.route, "fp16" if job.options.precision == "fp16" else "fp32")
    with job.step("verification"):
        product = verified(job, completed, model, info)
        gate(job.destination, product.verification, info.precision)
    return product


def complete(job: ExportJob) -> Completed:
    """Converts the job's network, and opens what the graph is verified by. Raises as `make` does."""
    source = job.source
    with job.step("images to verify on"):
        images = verification_images(source, job.options.data, job.options.images)
    with job.step("network"):
        reference = open_reference(source)
    with job.step("ONNX graph"):
        network = convert(job, reference)
    _check_classes(job, network)
    with job.step("clean-up"):
        model = network_graph.complete(_cleaned(network.model), source.preprocessing, source.task)
    return Completed(model, network.route, reference, images, network.softmax_removed)


def describe_graph(
    job: ExportJob, model: ModelProto, route: Route, precision: Precision, quantization: dict[str, Any] | None = None
) -> BundleInfo:
    """Describes an ONNX model of the job's source for bundle.json."""
    inputs, outputs = network_graph.contracts(model)
    opset = network_graph.opset_of(model)
    return describe(job, route, inputs, outputs, precision, opset=opset, quantization=quantization)


def verified(job: ExportJob, completed: Completed, model: ModelProto, info: BundleInfo) -> Product:
    """Saves `model`, and compares its answers with the network's; whether they are alike enough is for a gate."""
    files = network_graph.save(model, job.folder)
    predictor = OnnxPredictor(Bundle(job.folder, info, job.destination))
    verification = compare(
        completed.reference, predictor, completed.images, probabilities=completed.gives_probabilities
    )
    info = info.model_copy(update={"verification": verification})
    return Product(info, files, golden_of(predictor, completed.images), model, completed.model)


def _check_classes(job: ExportJob, network: NetworkGraph) -> None:
    classes, labels = network_graph.axes(network.model.graph.output[0])[1], job.source.labels
    if job.source.task != "embedding" and classes != len(labels):
        raise ConfigError(f"{job.source.address}: gives {classes} logits, but --labels names {len(labels)} classes")


def _cleaned(network: ModelProto) -> ModelProto:
    """Optimisers serialise the whole graph, which beyond protobuf's limit they cannot: it then stays as it is."""
    small_enough = network_graph.weight_bytes(network) <= network_graph.PROTOBUF_BYTES
    return optimize.clean(network) if small_enough else network
