"""safetensors: a network's weights in one file."""

from collections.abc import Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401  (it teaches numpy bfloat16)
import numpy as np
from safetensors import SafetensorError, safe_open

from scenerec.errors import ModelError, first_line
from scenerec.models.neutral import shown_key
from scenerec.models.weights.formats import other_format

_FLOATS = ("F64", "F32", "F16", "BF16")


def read(path: Path, url: str) -> tuple[dict[str, np.ndarray], Mapping[str, str]]:
    """The floating-point tensors of a file under its own names, each of the width that it has there, and its metadata.

    Args:
        path: the file.
        url: its name in messages.

    Raises:
        ModelError: it is another file, or damaged, or holds numbers that have no exact float32.
    """
    try:
        with safe_open(path, framework="np") as file:
            kinds = {key: file.get_slice(key).get_dtype() for key in file.offset_keys()}
            for key, kind in kinds.items():
                if problem := _problem(kind):
                    raise ModelError(f"{url}: {shown_key(key)} is {problem}")
            tensors = {key: file.get_tensor(key) for key, kind in kinds.items() if kind in _FLOATS}
            return tensors, file.metadata() or {}
    except ModelError:
        raise
    except SafetensorError as error:
        other = other_format(path)
        what = "or a damaged one" if other in (None, "a safetensors file") else f"but {other}"
        raise ModelError(f"{url}: not a safetensors file, {what} ({first_line(error)})") from None
    except Exception as error:  # what the header says may break the reader anywhere
        raise ModelError(f"{url}: not a safetensors file, or a damaged one ({type(error).__name__})") from None


def _problem(kind: str) -> str | None:
    """What keeps numbers of this kind (F8_E4M3, C64, I8) from being read bit by bit, with the remedy."""
    if kind == "I8":
        return "quantized (int8): save the network's float weights"
    if kind in _FLOATS or kind[0] not in "FC":
        return None
    name = {"F": "float", "C": "complex"}[kind[0]] + kind[1:].lower()
    return f"{name}, which has no exact float32 without its scales: save bfloat16 or float32"
