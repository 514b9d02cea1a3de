"""Every way by which a picture comes into the product, so that they can be asked about one file."""

import io
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torchvision.transforms.v2  # noqa: F401  before TensorFlow
from PIL import Image

from scenerec.data import tf_input, torch_input
from scenerec.data.augment import CenterCrop
from scenerec.data.packing.intake import pack_image
from scenerec.data.picture import PictureError
from scenerec.inference.predictors.photograph import Preparer

SIZE = 32
"""Side of what the doors make of a picture."""
_SQUARE = CenterCrop(SIZE, SIZE, 0, 0)


def _torch(content: bytes) -> np.ndarray:
    return torch_input.decode_evaluation(content, _SQUARE, SIZE).permute(1, 2, 0).numpy()


def _tf(content: bytes) -> np.ndarray:
    return tf_input.decode_evaluation(content, _SQUARE, SIZE).numpy()


DOORS: Mapping[str, Callable[[bytes], object]] = {
    "pack": pack_image,
    "pack, shrunk": lambda content: pack_image(content, short_side=16),
    "torch": _torch,
    "TensorFlow": _tf,
    "predict": Preparer(SIZE, 1.0),
}


def answers(content: bytes) -> dict[str, str]:
    """What each door says of a file: the kind of its error and its words, or nothing where it takes it."""
    return {door: _answer(take, content) for door, take in DOORS.items()}


def _answer(take: Callable[[bytes], object], content: bytes) -> str:
    try:
        take(content)
    except PictureError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def loads_strictly(content: bytes) -> bool:
    """Whether Pillow decodes a file, of which it patches nothing over."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Image.open(io.BytesIO(content)).load()
        except Exception:
            return False
    return True
