import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from scenerec.errors import ModelError
from scenerec.models import tf_weights, torch_model
from scenerec.models.weight_files import read_weights

FORMATS = [("keras", "twin.keras"), ("savedmodel", "twin")]


def test_twins_go_round_bit_exactly_and_need_no_torch(rng: np.random.Generator, tmp_path: Path):
    network = torch_model.build("resnet18", 5, seed=1)
    state = torch_model.state(network)
    for key, array in state.items():
        if ".running_" in key:
            state[key] = rng.uniform(0.5, 1.5, array.shape).astype("float32")
    torch_model.load_state(network, state)
    for kind, name in FORMATS:
        tf_weights.write(tmp_path / name, kind, state, "resnet18", classes=5, image_size=64)
        read = read_weights(f"{tmp_path}/{name}")
        assert (read.arch, read.image_size, read.format) == ("resnet18", 64, kind)
        assert set(read.state) == set(state)
        assert all(np.array_equal(read.state[key], array) for key, array in state.items())

    images = rng.normal(size=(2, 64, 64, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    subprocess.run([sys.executable, "-c", LOAD_WITHOUT_TORCH, str(tmp_path)], check=True, timeout=300)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    for _, name in FORMATS:
        logits = np.load(tmp_path / f"{name}.npy")
        assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max()


LOAD_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None
from pathlib import Path
import numpy as np
import tensorflow as tf
folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
served = tf.saved_model.load(str(folder / "twin")).signatures["serving_default"]
np.save(folder / "twin.npy", served(images=tf.constant(images))["logits"].numpy())
assert not any(name.partition(".")[0] == "scenerec" for name in sys.modules)
import scenerec.models.keras_bindings
import keras
np.save(folder / "twin.keras.npy", keras.models.load_model(folder / "twin.keras")(images, training=False).numpy())
"""


def test_foreign_models_are_refused(tmp_path: Path):
    inputs = keras.Input((8, 8, 3))
    foreign = keras.Model(inputs, keras.layers.Flatten()(inputs), name="foreign")
    foreign.save(tmp_path / "foreign.keras")
    foreign.export(tmp_path / "foreign", verbose=False)
    (tmp_path / "broken.keras").write_bytes(b"broken")
    for name, reason in (
        ("foreign.keras", "'foreign' is no architecture"),
        ("foreign", "it has no assets.extra/twin.json"),
        ("broken.keras", ".*"),
    ):
        with pytest.raises(ModelError, match=rf"{name}: not a network that scenerec saved \({reason}.*\)$") as error:
            read_weights(f"{tmp_path}/{name}")
        assert "\n" not in str(error.value)


def test_a_saved_model_that_lost_its_variables_is_refused(tmp_path: Path):
    state = torch_model.state(torch_model.build("squeezenet1_1", 5, seed=0))
    tf_weights.write(tmp_path / "twin", "savedmodel", state, "squeezenet1_1", classes=5, image_size=64)
    stranger = tf.train.Checkpoint(weights={"another": tf.Variable(1.0)})
    stranger.write(str(tmp_path / "twin/variables/variables"))
    with pytest.raises(ModelError, match="twin: not a network that scenerec saved"):
        read_weights(f"{tmp_path}/twin")
