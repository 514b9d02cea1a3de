"""A bundle's ONNX model that gives embeddings beside its logits: what the layer that classifies is given.

Any bundle can: the graph is the bundle's own, with one output more. One whose task is `embedding` gives nothing else.
"""

from typing import TYPE_CHECKING

import numpy as np

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor, open_session
from scenerec.inference.predictors.predictor import in_batches_of

if TYPE_CHECKING:  # a light installation lacks it
    from onnx import GraphProto, NodeProto

_LOGITS = "logits"
_CLASSIFYING = ("Gemm", "MatMul")


class Embedder(OnnxPredictor):
    """A bundle's ONNX model that gives embeddings as well.

    Args:
        bundle: of format onnx.
        threads: of the operators; 0 leaves the choice to onnxruntime.

    Raises:
        BundleError: onnxruntime does not load the model, or no single layer of it classifies one vector an image.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        if bundle.info.format != "onnx":
            raise BundleError(f"{bundle.url}: gives no embeddings, as it is a {bundle.info.format} model: export ONNX")
        super().__init__(bundle, threads)
        if self.task == "embedding":
            self._outputs = [self.output_name]
            return
        import onnx

        model = onnx.load(bundle.model_file, load_external_data=False)
        layer = _classifying_layer(model.graph, self.input_name)
        self._outputs = [_LOGITS, layer.input[0] if layer else ""]
        if layer:
            model.graph.output.append(onnx.ValueInfoProto(name=layer.input[0]))  # without a type: runtimes infer it
            self.session = open_session(model.SerializeToString(), threads, weights_folder=bundle.folder)
        if layer is None or len(self.session.get_outputs()[-1].shape) != 2:
            raise BundleError(f"{bundle.url}: gives no embeddings: no last layer of it classifies one vector an image")

    def logits_and_embeddings(
        self, images: np.ndarray, coordinates: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The logits, float32 [n, classes], and the embeddings, float32 [n, width], of `logits`'s arguments.

        Of a model that gives embeddings alone there are no classes.
        """
        feeds = self.feeds(images, coordinates)

        def run(*inputs: np.ndarray) -> np.ndarray:
            answers = self.session.run(self._outputs, dict(zip(feeds, inputs, strict=True)))
            return np.concatenate([np.asarray(each, np.float32) for each in answers], axis=1)

        both = in_batches_of(self._fixed_batch, run, *feeds.values())
        return both[:, : len(self.labels)], both[:, len(self.labels) :]


def _classifying_layer(graph: "GraphProto", images: str) -> "NodeProto | None":
    """The last product with weights on the way from the images to the logits."""
    of_images = {images}
    for node in graph.node:
        if of_images.intersection(node.input):
            of_images.update(node.output)
    wanted = {_LOGITS}
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            if node.op_type in _CLASSIFYING and node.input[0] in of_images and node.input[1] not in of_images:
                return node
    return None
