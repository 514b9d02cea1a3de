"""A bilinear, antialiased resize as a matrix: the same product in both frameworks, on any device. Pure."""

import numpy as np


def resize_matrix(size: int, target: int) -> np.ndarray:
    """The matrix that resizes a line of `size` pixels to `target`, float32 [target, size]; each row adds up to 1.

    An image is resized by one product along its rows and one along its columns. The weights are those of Pillow and of
    torch's `interpolate(mode="bilinear", antialias=True)`: a triangle about the pixel's centre, one pixel wide on
    either side, or as wide as a pixel of the target where that is larger.
    """
    scale = size / target
    centres = (np.arange(target)[:, None] + 0.5) * scale
    distances = np.abs(np.arange(size) + 0.5 - centres) / max(scale, 1.0)
    weights = np.maximum(1 - distances, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
