"""PyTorch: a network's weights in the files of `torch.save`."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scenerec.errors import ModelError
from scenerec.models import torch_model
from scenerec.models.neutral import State

# Under what a training script may have saved the weights, beside its optimizer and its epoch.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_AVERAGED_WRAPPERS = ("model_ema", "state_dict_ema", "ema_state_dict", "ema")


def read(path: Path, url: str, averaged: bool = False) -> tuple[dict[str, np.ndarray], str | None]:
    """The floating-point tensors of a file, as float32 under the file's own names, and the `arch` that it tells.

    Nothing but tensors and plain values is unpickled. Files that Python 2 wrote can be read.

    Args:
        path: the file.
        url: its name in messages.
        averaged: the tensors of a moving average that the file keeps beside the others.

    Raises:
        ModelError: the file holds no weights, or none that can be loaded safely.
    """
    loaded = _load(path, url)
    arch = loaded.get("arch") if isinstance(loaded, Mapping) else None
    if averaged:
        loaded = next((loaded[key] for key in _AVERAGED_WRAPPERS if _is_mapping(loaded, key)), None)
        if loaded is None:
            raise ModelError(f"{url}: holds no averaged weights")
    while wrapper := next((key for key in _WRAPPERS if _is_mapping(loaded, key)), None):
        loaded = loaded[wrapper]
    tensors = _floating(loaded) if isinstance(loaded, Mapping) else {}
    if not tensors:
        raise ModelError(f"{url}: holds no state_dict: {_description(loaded)}")
    return tensors, arch if isinstance(arch, str) else None


def write(path: Path, state: State, arch: str, classes: int) -> None:
    """Save the state_dict that torchvision's model loads strictly: with its counters and constants.

    Raises:
        StateError: the state does not fit the model.
    """
    network = torch_model.build(arch, classes, seed=0)
    torch_model.load_state(network, state)
    torch.save(network.state_dict(), path)


def _load(path: Path, url: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript, which is refused in any case
            # Latin-1 for the strings of Python 2, which may be any bytes; Python 3's do not heed it.
            return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")
    except pickle.UnpicklingError as error:
        if needed := re.search(r"GLOBAL (\S+)", str(error)):
            what = f"it needs {needed.group(1)}, and pickle can run any code"
            raise ModelError(
                f"{url}: cannot be loaded safely ({what}): save the network's state_dict() alone, and name that file"
            ) from None
        raise _unreadable(url, error) from None
    except Exception as error:  # damaged bytes can break the reader anywhere
        raise _unreadable(url, error) from None


def _unreadable(url: str, error: Exception) -> ModelError:
    text = str(error)
    if "TorchScript" in text or "legacy .tar" in text:
        kind = "TorchScript" if "TorchScript" in text else "an archive of PyTorch 0.1"
        return ModelError(
            f"{url}: cannot be loaded safely ({kind}): save the network's state_dict(), and name that file"
        )
    return ModelError(f"{url}: not a file of torch.save, or a damaged one ({type(error).__name__})")


def _is_mapping(loaded: Any, key: str) -> bool:
    return isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)


def _floating(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        key: value.detach().float().contiguous().numpy()
        for key, value in state_dict.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def _description(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        keys = [str(key) for key in loaded]
        return f"its keys are {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}" if keys else "it is empty"
    return f"it is of type {type(loaded).__name__}"
