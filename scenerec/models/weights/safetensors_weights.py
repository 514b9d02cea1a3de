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
            odd = next(
                (key for key, kind in kinds.items() if kind not in _FLOATS and kind.startswith(("F", "C"))), None
            )
            if odd is not None:
                reason = "which has no exact float32 without its scales: save bfloat16 or float32"
                raise ModelError(f"{url}: {shown_key(odd)} is {_name(kinds[odd])}, {reason}")
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


def _name(kind: str) -> str:
    """`float8_e4m3` for F8_E4M3, `complex64` for C64."""
    return {"F": "float", "C": "complex"}[kind[0]] + kind[1:].lower()
