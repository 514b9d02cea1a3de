"""The weights that a run starts from, where they are not drawn by its seed."""

from safetensors import SafetensorError
from safetensors.numpy import load

from scenerec.config import ModelConfig
from scenerec.errors import ModelError, NotFoundError
from scenerec.models.neutral import State
from scenerec.storage import open_storage, split_url


def initial_state(config: ModelConfig, drawn: State) -> State:
    """The neutral state to start from: the one that `weights` names, or `drawn`, the model's own, for `none`.

    Raises ModelError where there is none or it is not a safetensors file, StorageError where the store does not answer.
    """
    if config.weights == "none":
        return drawn
    folder, key = _locate(config.weights)
    try:
        return load(open_storage(folder).get(key))
    except NotFoundError:
        raise _missing(folder, key) from None
    except SafetensorError as error:
        raise ModelError(f"model.weights: {folder}/{key} is not a safetensors file ({error})") from None


def check_initial_state(weights: str) -> None:
    """Raises ModelError where there is nothing at `weights`, without reading it."""
    if weights == "none":
        return
    folder, key = _locate(weights)
    if open_storage(folder).size(key) is None:
        raise _missing(folder, key)


def _locate(weights: str) -> tuple[str, str]:
    return split_url(weights if weights.endswith(".safetensors") else f"{weights}/model.safetensors")


def _missing(folder: str, key: str) -> ModelError:
    return ModelError(f"model.weights: {folder}/{key} does not exist: name a .safetensors file or a checkpoint folder")
