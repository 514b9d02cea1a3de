"""A twin through tf2onnx in its child process."""

from collections import Counter

import numpy as np
import pytest
from onnx import ModelProto

from scenerec.export.conversion import tf_onnx
from scenerec.export.graphs import optimize
from scenerec.export.graphs.network_graph import check_network, module_of
from scenerec.export.source import Source
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.onnx_predictor import open_session
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import tf_model, torch_model
from scenerec.models.neutral import State

ARCH, CLASSES, SIZE = "shufflenet_v2_x0_5", 4, 64


@pytest.fixture(scope="module")
def state() -> State:
    """Weights of which none is zero, which TensorFlow would drop."""
    drawn, generator = torch_model.state(torch_model.build(ARCH, CLASSES, seed=0)), np.random.default_rng(0)
    return {key: array + generator.uniform(0, 0.1, array.shape).astype(np.float32) for key, array in drawn.items()}


@pytest.fixture(scope="module")
def network(state: State) -> ModelProto:
    preprocessing = Preprocessing(image_size=SIZE, eval_crop_ratio=1)
    return tf_onnx.convert(
        Source("m", "runs/m", ZooNetwork(ARCH, CLASSES, state), None, ("a",) * CLASSES, preprocessing)
    )


def test_a_twins_network_answers_as_the_twin(network: ModelProto, state: State) -> None:
    check_network(network)
    twin = tf_model.build(ARCH, CLASSES, SIZE, seed=1)
    tf_model.load_state(twin, state)
    images = np.random.default_rng(1).normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)
    expected = np.asarray(twin(images, training=False))
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    for one in (network, optimize.clean(network)):
        logits = np.asarray(open_session(one.SerializeToString()).run(None, {"pixels": pixels})[0])
        assert np.abs(logits - expected).max() / np.abs(expected).max() < 1e-5


def test_a_clean_twins_network_has_the_operators_of_torchs(network: ModelProto) -> None:
    cleaned = optimize.clean(network)
    operators = Counter(node.op_type for node in cleaned.graph.node)
    assert operators["Transpose"] == 16  # one in each channel shuffle
    assert not {"BatchNormalization", "Pad", "Shape", "Cast"} & operators.keys()
    assert {"conv1.0", "stage2.0.branch1.0", "fc"} <= {module_of(node) for node in cleaned.graph.node}
