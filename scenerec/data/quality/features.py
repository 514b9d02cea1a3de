"""What a picture's colours and textures are, as numbers by which kinds of scenes differ. Nothing is learned. Pure.

Energies of oriented filters, averaged over the cells of a grid (Oliva and Torralba, Modeling the shape of the scene,
IJCV 42, 2001); mean and deviation of opponent colours over a finer grid; and the histogram of all colours.
"""

from functools import cache

import numpy as np
from PIL import Image

_SIDE = 128  # to which a picture is squeezed, whatever its ratio
_SHRINKINGS = (1, 4)
_FREQUENCIES = (0.33, 0.165)  # cycles a pixel of each shrunk picture
_ORIENTATIONS, _ENERGY_GRID = 6, 2
_BANDWIDTH = 0.6  # of the logarithmic Gabor filters (Field 1987): two octaves
_LEAST_DEVIATION, _LEAST_ENERGY = 8.0, 0.02
_COLOUR_GRID, _LEVELS = 4, 4
_GREY = np.array((0.299, 0.587, 0.114), np.float32)
_OPPONENT = np.array(((1 / 3, 1 / 3, 1 / 3), (1, -1, 0), (0.5, 0.5, -1)), np.float32).T


def picture_features(pixels: np.ndarray) -> np.ndarray:
    """The features, float16 [256], of a picture, uint8 RGB [height, width, 3]."""
    small = np.asarray(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    return np.concatenate([_energies(small), _colours(small), _histogram(small)]).astype(np.float16)


def _energies(pixels: np.ndarray) -> np.ndarray:
    """Logarithms of the filters' mean responses to the grey levels, whose brightness and contrast are taken out."""
    grey = pixels @ _GREY
    grey = (grey - grey.mean()) / (grey.std() + _LEAST_DEVIATION)
    return np.concatenate([_responses(grey, _SIDE // shrinking) for shrinking in _SHRINKINGS])


def _responses(grey: np.ndarray, side: int) -> np.ndarray:
    shrunk = grey.reshape(side, _SIDE // side, side, _SIDE // side).mean(axis=(1, 3))
    responses = np.abs(np.fft.ifft2(np.fft.fft2(shrunk) * _filters(side)))
    cell = side // _ENERGY_GRID
    cells = responses.reshape(len(responses), _ENERGY_GRID, cell, _ENERGY_GRID, cell)
    return np.log(cells.mean(axis=(2, 4)) + _LEAST_ENERGY).ravel()


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Mean and deviation of brightness, red against green, and yellow against blue."""
    cell = _SIDE // _COLOUR_GRID
    opponent = (pixels.astype(np.float32) / 255) @ _OPPONENT
    cells = opponent.reshape(_COLOUR_GRID, cell, _COLOUR_GRID, cell, 3)
    return np.concatenate([cells.mean(axis=(1, 3)).ravel(), cells.std(axis=(1, 3)).ravel()])


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Square roots of the shares of the pixels in each of 64 boxes of RGB."""
    boxes = (pixels.reshape(-1, 3) // (256 // _LEVELS)).astype(np.int64) @ (_LEVELS**2, _LEVELS, 1)
    return np.sqrt(np.bincount(boxes, minlength=_LEVELS**3) / len(boxes))


@cache
def _filters(side: int) -> np.ndarray:
    """Logarithmic Gabor filters in the frequency domain, float32 [frequencies * orientations, side, side]."""
    axis = np.fft.fftfreq(side)
    across, down = np.meshgrid(axis, axis)
    radius, angle = np.hypot(across, down), np.arctan2(down, across)
    radius[0, 0] = 1  # the mean, which no filter lets through
    made = []
    for frequency in _FREQUENCIES:
        ring = np.exp(-(np.log(radius / frequency) ** 2) / (2 * np.log(_BANDWIDTH) ** 2))
        ring[0, 0] = 0
        for orientation in np.pi / _ORIENTATIONS * np.arange(_ORIENTATIONS):
            apart = np.angle(np.exp(1j * (angle - orientation)))
            made.append(ring * np.exp(-(apart**2) / (2 * (0.7 * np.pi / _ORIENTATIONS) ** 2)))
    return np.array(made, np.float32)
