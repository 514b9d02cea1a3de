"""The weights that a run starts from, where they are not drawn by its seed."""

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from scenerec.errors import ModelError, NotFoundError
from scenerec.storage import open_storage, split_url


def initial_state(weights: str) -> dict[str, np.ndarray] | None:
    """The neutral state that `model.weights` names: a .safetensors file or a checkpoint folder; None for `none`.

    Raises ModelError where there is none or it is not a safetensors file, StorageError where the store does not answer.
    """
    if weights == "none":
        return None
    url = weights if weights.endswith(".safetensors") else f"{weights}/model.safetensors"
    folder, key = split_url(url)
    try:
        return load(open_storage(folder).get(key))
    except NotFoundError:
        raise ModelError(
            f"model.weights: {url} does not exist: name a .safetensors file or a checkpoint folder"
        ) from None
    except SafetensorError as error:
        raise ModelError(f"model.weights: {url} is not a safetensors file ({error})") from None
