from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.errors import ModelError
from scenerec.models import tf_model, torch_model
from scenerec.models.weights import tf_weights
from scenerec.models.weights.files import read_weights


def test_foreign_models_are_refused(tmp_path: Path):
    inputs = keras.Input((8, 8, 3))
    foreign = keras.Model(inputs, keras.layers.Flatten()(inputs), name="foreign")
    foreign.save(tmp_path / "foreign.keras")
    foreign.save(tmp_path / "foreign.h5")
    foreign.save_weights(tmp_path / "foreign.weights.h5")
    foreign.export(tmp_path / "foreign", verbose=False)
    (tmp_path / "broken.keras").write_bytes(b"broken")
    for name, reason in (
        ("foreign.keras", "'foreign' is no architecture"),
        ("foreign", "it has no assets.extra/twin.json"),
        ("broken.keras", ".*"),
        ("foreign.h5", "'foreign' is no architecture"),
        ("foreign.weights.h5", "it holds weights without their network: save the model itself, as .keras"),
    ):
        with pytest.raises(ModelError, match=rf"{name}: not a network that scenerec saved \({reason}.*\)$") as error:
            read_weights(f"{tmp_path}/{name}")
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_twin_is_read_from_hdf5_too_and_a_network_of_the_same_name_alone_is_none(tmp_path: Path):
    twin = tf_model.build("squeezenet1_1", 5, 64, seed=0)
    twin.save(tmp_path / "a.h5")
    read = read_weights(f"{tmp_path}/a.h5")
    assert (read.arch, read.image_size, read.format) == ("squeezenet1_1", 64, "keras")
    expected = tf_model.state(twin)
    assert read.state.keys() == expected.keys()
    assert all(np.array_equal(read.state[key], array) for key, array in expected.items())
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs), name="resnet50").save(tmp_path / "resnet50.keras")
    result = CliRunner().invoke(app, ["convert", f"{tmp_path}/resnet50.keras", f"{tmp_path}/b.pth"])
    assert (result.exit_code, "do not fit resnet50: missing conv1.weight" in result.stderr) == (6, True)


@pytest.mark.slow
def test_a_saved_model_comes_back_until_it_loses_its_variables(tmp_path: Path):
    state = torch_model.state(torch_model.build("squeezenet1_1", 5, seed=0))
    tf_weights.write(tmp_path / "twin", "savedmodel", state, "squeezenet1_1", classes=5, image_size=64)
    read = read_weights(f"{tmp_path}/twin")
    assert (read.arch, read.image_size, read.format) == ("squeezenet1_1", 64, "savedmodel")
    assert set(read.state) == set(state)
    assert all(np.array_equal(read.state[key], array) for key, array in state.items())
    stranger = tf.train.Checkpoint(weights={"another": tf.Variable(1.0)})
    stranger.write(str(tmp_path / "twin/variables/variables"))
    with pytest.raises(ModelError, match="twin: not a network that scenerec saved"):
        read_weights(f"{tmp_path}/twin")
