"""The way on which a network becomes an ONNX graph: by torch's exporter, by tf2onnx, or through the torch twin."""

from dataclasses import dataclass

import onnx
from onnx import ModelProto, helper

from scenerec.errors import BundleError, ConfigError
from scenerec.export.conversion import tf_onnx, torch_onnx
from scenerec.export.job import ExportJob
from scenerec.export.options import RouteChoice
from scenerec.export.source import KerasNetwork, Source, TorchNetwork
from scenerec.inference.bundles.info import Route
from scenerec.inference.predictors.onnx_predictor import open_session
from scenerec.inference.predictors.predictor import Predictor
from scenerec.inference.predictors.torch_predictor import TorchPredictor, build


@dataclass(frozen=True)
class NetworkGraph:
    """A network graph (see `scenerec.export.graphs.network_graph`), and where it comes from."""

    model: ModelProto
    """The graph: normalised pixels in, logits out."""
    route: Route
    """How the network was converted."""

    @property
    def softmax_removed(self) -> bool:
        """Whether the network ended with a softmax that the graph leaves out: the network gives probabilities."""
        return any(entry.key == tf_onnx.SOFTMAX_REMOVED for entry in self.model.metadata_props)


def convert(job: ExportJob, reference: Predictor) -> NetworkGraph:
    """Converts the job's network, which `reference` has opened in its framework.

    Where `auto` is asked for, what tf2onnx gives up goes through the torch twin.

    Raises:
        ConfigError: the route or the operator set does not fit the network.
        ModelError: the network cannot be converted; the message names operators and modules.
    """
    source, options = job.source, job.options
    size, opset = source.preprocessing.image_size, options.opset
    if _goes_by_tf2onnx(source, options.route):
        check_opset(opset, tf_onnx.OPSETS, "tf2onnx")
        try:
            return NetworkGraph(tf_onnx.convert(source, opset, options.limits), "tf2onnx")
        except tf_onnx.ConversionError as error:
            if options.route == "tf2onnx" or isinstance(source.network, KerasNetwork):
                raise
            job.say(f"through the torch twin, as tf2onnx gives up: {str(error).removesuffix(': use --route twin')}")
    check_opset(opset, torch_onnx.OPSETS, "torch's exporter")
    if isinstance(reference, TorchPredictor):
        return NetworkGraph(torch_onnx.convert(reference.network, size, opset, source.takes_coordinates), "torch")
    assert not isinstance(source.network, KerasNetwork | TorchNetwork)
    return NetworkGraph(torch_onnx.convert(build(source.network), size, opset, source.takes_coordinates), "twin")


def check_opset(opset: int, written: range, writer: str) -> None:
    """Raises ConfigError unless `writer`, whose operator sets are `written`, and onnxruntime both know `opset`."""
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


def _goes_by_tf2onnx(source: Source, route: RouteChoice) -> bool:
    if isinstance(source.network, TorchNetwork) and route == "tf2onnx":
        raise ConfigError("--route tf2onnx: is for TensorFlow: leave it out for a torch module")
    if isinstance(source.network, KerasNetwork):
        if route == "twin":
            raise ConfigError("--route twin: only networks that scenerec built have a torch twin")
        return True
    return route == "tf2onnx" or (route == "auto" and source.framework == "tensorflow")
