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
from scenerec.models.neutral import State, shown_key
from scenerec.models.weights.formats import other_format
from scenerec.names import few

# Under what a training script may have saved the weights, beside its optimizer and its epoch.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params"),
    *("model_weights", "net_state_dict", "network_state_dict", "state"),
)
_SHOWN_KEYS = 5
_FRAME = "Unsupported operand 149"  # with which pickles of protocol 4 begin
_AVERAGED_WRAPPERS = ("model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema")


class _Beside:
    """Stands for what a file keeps beside the weights: nobody asks for its value, so that none is made."""

    def __new__(cls, *_: object, **__: object) -> "_Beside":
        return super().__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _MappingBeside:
    """As `_Beside`, for what the unpickler fills with keys."""

    def __new__(cls, *_: object, **__: object) -> dict[object, object]:  # type: ignore[misc]
        return {}


# What training scripts save beside the weights: their arguments, and numbers of numpy's. torch's unpickler knows these
# names then, and nothing else; what they name in the file is neither imported nor called.
_BESIDE = (
    *("argparse.Namespace", "types.SimpleNamespace", "numpy.dtype", "numpy.ndarray"),
    *(f"numpy.{core}.multiarray.{what}" for core in ("core", "_core") for what in ("scalar", "_reconstruct")),
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("", "Posix", "Windows")),
    *("datetime.datetime", "datetime.date", "datetime.timedelta", "builtins.frozenset", "builtins.range"),
    *(f"builtins.{kind}" for kind in ("slice", "list", "dict", "int", "float", "str", "bool")),
)
_MAPPINGS_BESIDE = ("collections.defaultdict", "pytorch_lightning.utilities.parsing.AttributeDict")
_SAFE_GLOBALS = [*((_Beside, name) for name in _BESIDE), *((_MappingBeside, name) for name in _MAPPINGS_BESIDE)]


def read(path: Path, url: str, averaged: bool = False) -> tuple[dict[str, np.ndarray], str | None]:
    """The floating-point tensors of a file, as float32 under the file's own names, and the `arch` that it tells.

    Nothing but tensors and plain values is unpickled; a training script's arguments and numpy's numbers are passed
    over. Files that Python 2 wrote can be read.

    Args:
        path: the file.
        url: its name in messages.
        averaged: the tensors of a moving average that the file keeps beside the others.

    Raises:
        ModelError: the file holds no weights, none that can be loaded safely, or a tensor that is no plain array.
    """
    loaded = _load(path, url)
    arch = loaded.get("arch") if isinstance(loaded, Mapping) else None
    average = next((loaded[key] for key in _AVERAGED_WRAPPERS if _is_mapping(loaded, key)), None)
    is_apart = averaged and average is not None
    content = _unwrapped(average if is_apart else loaded)
    tensors = _floating(content, url) if isinstance(content, Mapping) else {}
    if not tensors:
        hint = "; it has averages: take them by model.weights_ema: true, or --ema" if average is not None else ""
        raise ModelError(f"{url}: holds no state_dict: {_description(content)}{hint}")
    if not is_apart:
        tensors = _averages(tensors) if averaged else _without_averages(tensors)
    if not tensors:
        raise ModelError(f"{url}: holds no averaged weights")
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
        with warnings.catch_warnings(), torch.serialization.safe_globals(_SAFE_GLOBALS):
            warnings.simplefilter("ignore")  # of TorchScript, which is refused in any case
            # Latin-1 for the strings of Python 2, which may be any bytes; Python 3's do not heed it.
            return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")
    except pickle.UnpicklingError as error:
        if needed := re.search(r"GLOBAL (\S+)", str(error)):
            what = f"it needs {shown_key(needed.group(1))}, and pickle can run any code"
            raise ModelError(
                f"{url}: cannot be loaded safely ({what}): save the network's state_dict() alone, and name that file"
            ) from None
        raise _unreadable(path, url, error) from None
    except Exception as error:  # damaged bytes can break the reader anywhere
        raise _unreadable(path, url, error) from None


def _unreadable(path: Path, url: str, error: Exception) -> ModelError:
    text = str(error)
    if "TorchScript" in text or "legacy .tar" in text:
        kind = "TorchScript" if "TorchScript" in text else "an archive of PyTorch 0.1"
        return ModelError(
            f"{url}: cannot be loaded safely ({kind}): save the network's state_dict(), and name that file"
        )
    if _FRAME in text:
        what = "it was saved with pickle_protocol 4 or later"
        return ModelError(f"{url}: cannot be loaded safely ({what}): save it with 2, torch's own")
    other = other_format(path)
    if other not in (None, "a torch file"):
        return ModelError(f"{url}: not a file of torch.save, but {other}")
    return ModelError(f"{url}: not a file of torch.save, or a damaged one ({type(error).__name__})")


def _unwrapped(content: Any) -> Any:
    """The innermost mapping that a script may have saved a network's weights as; a pickle may lead back into itself."""
    entered: set[int] = set()
    while id(content) not in entered:
        entered.add(id(content))
        content = next((content[key] for key in _WRAPPERS if _is_mapping(content, key)), content)
    return content


def _averages(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of a moving average that is a module beside the network, as in a Lightning module: `ema_model.fc.bias`."""
    return {key: array for key, array in tensors.items() if key.partition(".")[0] in _AVERAGED_WRAPPERS}


def _without_averages(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The others; all where there are no others."""
    averages = _averages(tensors)
    return {key: array for key, array in tensors.items() if key not in averages} or tensors


def _is_mapping(loaded: Any, key: str) -> bool:
    return isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)


def _floating(state_dict: Mapping[Any, Any], url: str) -> dict[str, np.ndarray]:
    """The floating-point tensors as float32; integers are counters and constants. Raises ModelError."""
    tensors = {}
    for key, value in state_dict.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            continue
        if problem := _problem(value):
            raise ModelError(f"{url}: {shown_key(key)} is {problem}")
        if value.is_floating_point():
            try:
                tensors[key] = value.detach().float().contiguous().numpy()
            except Exception as error:  # a damaged file's tensors may be of any kind
                raise ModelError(f"{url}: {shown_key(key)} cannot be read ({type(error).__name__})") from None
    return tensors


def _problem(tensor: torch.Tensor) -> str | None:
    """What keeps a tensor from being read bit by bit, with the remedy."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized or tensor.dtype is torch.int8:
        return f"quantized ({kind}): save the network's float weights"
    if tensor.layout is not torch.strided:
        return f"sparse ({str(tensor.layout).removeprefix('torch.')}): save tensor.to_dense()"
    if kind.startswith(("float8", "float4", "complex")):
        return f"{kind}, which has no exact float32 without its scales: save bfloat16 or float32"
    if tensor.is_meta:
        return "without values (device meta): save the network after its weights are loaded"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"larger than what is stored of it ({list(tensor.shape)}): save tensor.contiguous()"
    return None


def _description(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"its keys are {few([*map(shown_key, loaded)], _SHOWN_KEYS)}" if loaded else "it is empty"
    return f"it is of type {type(loaded).__name__}"
