"""Which parts of an image are evaluated: its centre, or ten crops (Krizhevsky et al. 2012, section 4.1)."""

from typing import Literal

import numpy as np

from scenerec.data.augment import CenterCrop, center_crop

Crops = Literal[1, 10]


def evaluation_crops(height: int, width: int, image_size: int, crop_ratio: float, crops: Crops) -> list[CenterCrop]:
    """The crops of an image of height x width pixels: its centre; of ten also the four corners, unmirrored."""
    center = center_crop(height, width, image_size, crop_ratio)
    if crops == 1:
        return [center]
    bottom, right = center.height - image_size, center.width - image_size
    corners = [center._replace(top=top, left=left) for top in (0, bottom) for left in (0, right)]
    return [*corners, center]


def with_mirrors(images: np.ndarray) -> np.ndarray:
    """uint8 [n, h, w, 3] -> [2 n, h, w, 3]: the images, then each mirrored left to right."""
    return np.concatenate([images, images[:, :, ::-1]])


def average_crops(logits: np.ndarray, crops: int) -> np.ndarray:
    """Logits of the mean of the crops' probabilities: its logarithm.

    Args:
        logits: float32 [n * crops, classes], the crops of an image in a row.
        crops: of each image; one leaves the logits as they are.

    Returns:
        float32 [n, classes]
    """
    if crops == 1:
        return logits
    of_crops = log_softmax(logits).reshape(-1, crops, logits.shape[1])
    largest = of_crops.max(axis=1, keepdims=True)
    mean = np.exp(of_crops - largest).mean(axis=1)
    with np.errstate(divide="ignore"):
        averaged = np.log(mean) + largest[:, 0]
    return averaged.astype(np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities, float64 [n, classes]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
