"""Twins in the formats of Keras and TensorFlow, loaded by a process that has no torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from scenerec.models import tf_model, torch_model
from scenerec.models.weights import tf_weights
from scenerec.models.weights.files import read_weights
from tests.patience import PATIENCE_S

ARCH, CLASSES, SIZE = "mobilenet_v3_small", 5, 64
FORMATS = [("keras", "twin.keras"), ("savedmodel", "twin")]


def test_twins_go_round_bit_exactly_and_need_no_torch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    network = torch_model.build(ARCH, CLASSES, seed=1)
    state = torch_model.state(network)
    for key, array in state.items():
        if ".running_" in key:
            state[key] = rng.uniform(0.5, 1.5, array.shape).astype("float32")
    torch_model.load_state(network, state)
    for kind, name in FORMATS:
        tf_weights.write(tmp_path / name, kind, state, ARCH, classes=CLASSES, image_size=SIZE)
        read = read_weights(f"{tmp_path}/{name}")
        assert (read.arch, read.image_size, read.format) == (ARCH, SIZE, kind)
        assert set(read.state) == set(state)
        assert all(np.array_equal(read.state[key], array) for key, array in state.items())

    images = rng.normal(size=(2, SIZE, SIZE, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    subprocess.run([sys.executable, "-c", LOAD_WITHOUT_TORCH, str(tmp_path)], check=True, timeout=2 * PATIENCE_S)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    for _, name in FORMATS:
        logits = np.load(tmp_path / f"{name}.npy")
        assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max()
    model = tf_model.build(ARCH, CLASSES, SIZE, seed=0)
    tf_model.load_state(model, state)
    assert np.array_equal(np.load(tmp_path / "twin.keras.npy"), model(images, training=False))
    with np.load(tmp_path / "state.npz") as loaded:
        assert set(loaded.files) == set(state)
        assert all(np.array_equal(loaded[key], array) for key, array in state.items())


LOAD_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None
from pathlib import Path
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)  # as in these tests: the same sums in the same order
tf.config.threading.set_inter_op_parallelism_threads(1)
folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
served = tf.saved_model.load(str(folder / "twin")).signatures["serving_default"]
np.save(folder / "twin.npy", served(images=tf.constant(images))["logits"].numpy())
assert not any(name.partition(".")[0] == "scenerec" for name in sys.modules)
from scenerec.models.keras_twin import bindings
import keras
model = keras.models.load_model(folder / "twin.keras")
np.save(folder / "twin.keras.npy", model(images, training=False).numpy())
np.savez(folder / "state.npz", **bindings.state(model))
"""
