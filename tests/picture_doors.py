"""Every way by which a picture comes into the product, so that they can be asked about one file."""

import io
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from scenerec.data.augment import CenterCrop, View
from scenerec.data.packed_image import evaluation_pixels
from scenerec.data.packing.intake import pack_image
from scenerec.data.picture import Picture, PictureError
from scenerec.data.torch_pixels import training_pixels
from scenerec.inference.predictors.photograph import Preparer

SIZE = 32
"""Side of what the doors make of a picture."""
_SQUARE = CenterCrop(SIZE, SIZE, 0, 0)


def _train(content: bytes) -> np.ndarray:
    return training_pixels(content, View(0, 0, *Picture(content).upright_size, True, 1, 1, 1, 0), SIZE)


def _evaluate(content: bytes) -> np.ndarray:
    return evaluation_pixels(content, _SQUARE, SIZE)


DOORS: Mapping[str, Callable[[bytes], object]] = {
    "pack": pack_image,
    "pack, shrunk": lambda content: pack_image(content, short_side=16),
    "train": _train,
    "evaluate": _evaluate,
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
