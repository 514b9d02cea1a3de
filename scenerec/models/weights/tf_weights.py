"""TensorFlow: a network's weights in `.keras` files and SavedModel folders."""

import json
import zipfile
from pathlib import Path

import h5py

from scenerec.models import tf_model  # first: torchvision goes before tensorflow

import keras  # isort: skip
import tensorflow as tf

from scenerec.errors import ModelError, first_line
from scenerec.models import zoo
from scenerec.models.neutral import State

_SHOWN = 120  # characters of a reason
_TWIN_FILE = "assets.extra/twin.json"
"""In a SavedModel, the twin's layers as Keras describes them: what its variables belong to."""


def read(path: Path, url: str) -> tuple[State, str, int]:
    """The neutral state of a twin that `write` or `model.save` wrote, its architecture, and its image size in pixels.

    A SavedModel's functions are not run: its variables are read into a new twin.

    Args:
        path: a `.keras` or an HDF5 file, or a SavedModel folder.
        url: its name in messages.

    Raises:
        ModelError: it is not a twin, or damaged.
    """
    try:
        name = str(_told_name(path)).replace(".", "/")  # which Keras does not allow
        if zoo.find_architecture(name) is None:
            raise _no_twin(url, f"{name!r} is no architecture of `scenerec models`")
        model = _load_saved_model(path) if path.is_dir() else keras.models.load_model(path, compile=False)
        return tf_model.state(model), name, model.input_shape[1]
    except ModelError:
        raise
    except FileNotFoundError:
        raise _no_twin(url, f"it has no {_TWIN_FILE}") from None
    except Exception as error:  # damaged or foreign content can break the reader anywhere
        raise _no_twin(url, first_line(error)[:_SHOWN]) from None


def write(path: Path, kind: str, state: State, arch: str, classes: int, image_size: int) -> None:
    """Save the twin as `.keras` (kind "keras"), or as a SavedModel folder, which needs nothing but TensorFlow.

    The SavedModel's signature `serving_default` takes normalised float32 `images` [batch, image_size, image_size, 3]
    and returns float32 `logits` [batch, classes].

    Raises:
        StateError: the state does not fit the model.
        ModelError: `arch` cannot take images of `image_size`.
    """
    model = tf_model.build(arch, classes, image_size, seed=0)
    tf_model.load_state(model, state)
    if kind == "keras":
        model.save(path)
    else:
        _save_saved_model(model, path)


class _Variables(tf.Module):
    """What a SavedModel keeps: the twin's variables by torch's names, in Keras's layouts."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.weights = {binding.key: binding.variable.value for binding in tf_model.bindings(model)}


def _told_name(path: Path) -> object:
    """The name of the network in a file or folder, without making its layers, which may be anybody's.

    Raises what json, zipfile and h5py raise.
    """
    if path.is_dir():
        described = (path / _TWIN_FILE).read_text()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            described = archive.read("config.json").decode()
    else:
        with h5py.File(path) as file:
            if "model_config" not in file.attrs:
                raise ValueError("it holds weights without their network: save the model itself, as .keras")
            described = str(file.attrs["model_config"])
    return json.loads(described)["config"]["name"]


def _save_saved_model(model: keras.Model, path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(images, training=False)}

    tf.saved_model.save(_Variables(model), str(path), signatures=serve)
    (path / _TWIN_FILE).parent.mkdir()
    (path / _TWIN_FILE).write_text(model.to_json())


def _load_saved_model(path: Path) -> keras.Model:
    model = keras.models.model_from_json((path / _TWIN_FILE).read_text())
    checkpoint = tf.train.Checkpoint(weights=_Variables(model).weights)
    checkpoint.read(str(path / "variables/variables")).assert_existing_objects_matched().expect_partial()
    return model


def _no_twin(url: str, reason: str) -> ModelError:
    return ModelError(f"{url}: not a network that scenerec saved ({reason})")
