"""The parts of an image that are evaluated: its centre, or ten crops (Krizhevsky et al. 2012, section 4.1)."""

from typing import Literal

import numpy as np

from scenerec.data.augment import CenterCrop, center_crop

Crops = Literal[1, 10]
"""How many crops of an image are evaluated."""
CENTER = 4
"""The place of the centre among ten crops."""


def evaluation_crops(height: int, width: int, image_size: int, crop_ratio: float, crops: Crops) -> list[CenterCrop]:
    """Places the crops of an image of height x width pixels: its centre; of ten also the four corners, unmirrored."""
    center = center_crop(height, width, image_size, crop_ratio)
    if crops == 1:
        return [center]
    bottom, right = center.height - image_size, center.width - image_size
    corners = [center._replace(top=top, left=left) for top in (0, bottom) for left in (0, right)]
    return [*corners, center]


def with_mirrors(images: np.ndarray) -> np.ndarray:
    """Adds to uint8 images [n, h, w, 3] each one mirrored left to right: [2 n, h, w, 3]."""
    return np.concatenate([images, images[:, :, ::-1]])


def average_crops(logits: np.ndarray, crops: int, temperature: float = 1.0) -> np.ndarray:
    """Averages the probabilities of an image's crops, and returns the logarithms of the means.

    Args:
        logits: float32 [n * crops, classes], the crops of an image in a row.
        crops: of each image; one leaves the logits as they are.
        temperature: what logits are divided by, before they become the probabilities of crops.

    Returns:
        float32 [n, classes]
    """
    if crops == 1:
        return logits
    of_crops = log_softmax(logits, temperature).reshape(-1, crops, logits.shape[1])
    largest = of_crops.max(axis=1, keepdims=True)
    mean = np.exp(of_crops - largest).mean(axis=1)
    with np.errstate(divide="ignore"):
        averaged = np.log(mean) + largest[:, 0]
    return averaged.astype(np.float32)


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Turns logits [n, classes], over a temperature, into logarithms of probabilities, float64 [n, classes]."""
    shifted = (logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
