"""Operations of RandAugment and TrivialAugment on pixels, which both frameworks read. By torchvision's formulas.

(`torchvision.transforms.v2.functional`; shears and turns interpolate bilinearly there, as in torchvision's training
recipes, and what comes from beyond the edges is black.) An image stays interleaved, and its arithmetic runs along whole
rows: torchvision's takes planes, and to make planes of an image that is none costs as much as most operations.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from scenerec.data.operations import STEPS, Kind, Operation, Operations

_LEVELS = 255
_CHANNELS = 3
_GREY = (0.2989, 0.587, 0.114)  # weights of R, G, B, as torchvision's
_SHARPEST_WEIGHT, _KERNEL_SUM = 5, 13  # of the smoothing kernel: the pixel itself, and with its eight neighbours


def apply_operations(pixels: np.ndarray, operations: Operations) -> None:
    """Changes uint8 RGB [side, side, 3] in place, by one operation after another."""
    image = torch.from_numpy(pixels)
    for operation in operations:
        _OPERATIONS[operation.kind](image, magnitude(operation, len(pixels)))


def magnitude(operation: Operation, side: int) -> float:
    """How strongly an image of `side` pixels is changed, in its operation's own unit; negative in the other direction.

    Pixels of a shift, degrees of a turn, the slope of a shear, what is added to a factor of 1, bits that are kept,
    the level from which on is inverted; 0 where there is one strength only.
    """
    strength = _magnitudes(operation.kind, operation.wide, side)[operation.step]
    return -strength if operation.negative and operation.kind in _SIGNED else strength


_SIGNED = range(Kind.SHEAR_X, Kind.POSTERIZE)


@lru_cache(256)
def _magnitudes(kind: Kind, wide: bool, side: int) -> list[float]:
    """By step, in torchvision's own arithmetic (float32)."""
    match kind:
        case Kind.SHEAR_X | Kind.SHEAR_Y:
            most = 0.99 if wide else 0.3
        case Kind.TRANSLATE_X | Kind.TRANSLATE_Y:
            most = 32.0 if wide else 150.0 / 331.0 * side
        case Kind.ROTATE:
            most = 135.0 if wide else 30.0
        case Kind.BRIGHTNESS | Kind.COLOR | Kind.CONTRAST | Kind.SHARPNESS:
            most = 0.99 if wide else 0.9
        case Kind.POSTERIZE:
            return (8 - torch.arange(STEPS) / ((STEPS - 1) / (6 if wide else 4))).round().tolist()
        case Kind.SOLARIZE:
            return [_LEVELS * share for share in torch.linspace(1.0, 0.0, STEPS).tolist()]
        case _:
            most = 0.0
    return torch.linspace(0.0, most, STEPS).tolist()


def _shear_x(image: torch.Tensor, slope: float) -> None:
    _resample(image, (1.0, slope, slope * len(image) / 2), (0.0, 1.0, 0.0))


def _shear_y(image: torch.Tensor, slope: float) -> None:
    _resample(image, (1.0, 0.0, 0.0), (slope, 1.0, slope * len(image) / 2))


def _rotate(image: torch.Tensor, degrees: float) -> None:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    _resample(image, (cosine, -sine, 0.0), (sine, cosine, 0.0))


def _resample(image: torch.Tensor, x: tuple[float, float, float], y: tuple[float, float, float]) -> None:
    """Takes each pixel from where `x` and `y` say: factors of its own column and row, and what is added.

    All are counted from the centre, in pixels.
    """
    side = len(image)
    centres = _centres(side)
    grid = torch.empty(1, side, side, 2)
    for axis, (of_column, of_row, added) in enumerate((x, y)):
        torch.add(of_column * centres, (of_row * centres + 2 * added / side)[:, None], out=grid[0, :, :, axis])
    planes = image.permute(2, 0, 1)[None]
    found = F.grid_sample(planes.to(torch.float32), grid, "bilinear", "zeros", align_corners=False)
    planes.copy_(found.round_())


@lru_cache(16)
def _centres(side: int) -> torch.Tensor:
    """Of the pixels of a row, from -1 to 1 between its edges."""
    return torch.arange(1 - side, side, 2) / side


def _translate_x(image: torch.Tensor, pixels: float) -> None:
    _translate(image, int(pixels), axis=1)


def _translate_y(image: torch.Tensor, pixels: float) -> None:
    _translate(image, int(pixels), axis=0)


def _translate(image: torch.Tensor, pixels: int, axis: int) -> None:
    side, free = len(image), min(abs(pixels), len(image))
    start, into, edge = (0, free, 0) if pixels > 0 else (free, 0, side - free)
    image.narrow(axis, into, side - free).copy_(image.narrow(axis, start, side - free).clone())
    image.narrow(axis, edge, free).zero_()


def _brightness(image: torch.Tensor, more: float) -> None:
    image.copy_(image.mul(1.0 + more).clamp_(0, _LEVELS))


def _color(image: torch.Tensor, more: float) -> None:
    _blend(image, _grey(image)[..., None], 1.0 + more)


def _contrast(image: torch.Tensor, more: float) -> None:
    _blend(image, _grey(image).mean(), 1.0 + more)


def _grey(image: torch.Tensor) -> torch.Tensor:
    red, green, blue = image.unbind(2)
    return red.mul(_GREY[0]).add_(green, alpha=_GREY[1]).add_(blue, alpha=_GREY[2]).floor_()


def _blend(image: torch.Tensor, other: torch.Tensor, share: float) -> None:
    """The image with `share`, the other with what is left of 1; more than all of the image goes away from the other."""
    image.copy_(image.mul(share).add_(other, alpha=1.0 - share).clamp_(0, _LEVELS))


def _sharpness(image: torch.Tensor, more: float) -> None:
    """Away from or towards the mean of each pixel and its neighbours; the edges of the image stay."""
    side = len(image)
    if side <= 2:
        return
    rows = image.view(side, -1).to(torch.float32)
    inner = rows[1:-1, _CHANNELS:-_CHANNELS]
    across = rows[:, : -2 * _CHANNELS] + rows[:, _CHANNELS:-_CHANNELS] + rows[:, 2 * _CHANNELS :]
    smooth = (across[:-2] + across[1:-1]).add_(across[2:]).add_(inner, alpha=_SHARPEST_WEIGHT - 1)
    smooth.div_(_KERNEL_SUM).round_()
    inner = inner.add(smooth.sub_(inner), alpha=-more).clamp_(0, _LEVELS)
    image.view(side, -1)[1:-1, _CHANNELS:-_CHANNELS] = inner


def _posterize(image: torch.Tensor, bits: float) -> None:
    image.bitwise_and_(_LEVELS & ~((1 << 8 - int(bits)) - 1))


def _solarize(image: torch.Tensor, threshold: float) -> None:
    least = math.ceil(np.float32(threshold))  # torchvision compares with a float32, which takes longer
    torch.where(image >= least, image.bitwise_not(), image, out=image)


def _auto_contrast(image: torch.Tensor, _: float) -> None:
    """Stretches the levels of each channel, from its darkest to its brightest, to all that there are."""
    side, rows = len(image), image.view(len(image), -1)
    darkest = rows.amin(0).view(side, _CHANNELS).amin(0).to(torch.float32)
    brightest = rows.amax(0).view(side, _CHANNELS).amax(0).to(torch.float32)
    plain = darkest == brightest
    steps = torch.where(plain, 1.0, (brightest - darkest) * (1.0 / _LEVELS))
    darkest = torch.where(plain, 0.0, darkest)
    rows.copy_(rows.sub(darkest.repeat(side)).div_(steps.repeat(side)).clamp_(0, _LEVELS))


def _equalize(image: torch.Tensor, _: float) -> None:
    """Spreads the levels of each channel, so that all are about as frequent."""
    pixels = image.numpy()
    for channel in range(_CHANNELS):
        levels = pixels[:, :, channel]
        counts = np.bincount(levels.ravel(), minlength=_LEVELS + 1)
        brightest = int(np.flatnonzero(counts)[-1])
        step = int(counts[:brightest].sum()) // _LEVELS
        if step:
            below = np.cumsum(counts) - counts
            table = np.clip((below + step // 2) // step, 0, _LEVELS)
            table[0] = 0
            pixels[:, :, channel] = table.astype(np.uint8)[levels]


_OPERATIONS: dict[Kind, Callable[[torch.Tensor, float], None]] = {
    Kind.SHEAR_X: _shear_x,
    Kind.SHEAR_Y: _shear_y,
    Kind.TRANSLATE_X: _translate_x,
    Kind.TRANSLATE_Y: _translate_y,
    Kind.ROTATE: _rotate,
    Kind.BRIGHTNESS: _brightness,
    Kind.COLOR: _color,
    Kind.CONTRAST: _contrast,
    Kind.SHARPNESS: _sharpness,
    Kind.POSTERIZE: _posterize,
    Kind.SOLARIZE: _solarize,
    Kind.AUTO_CONTRAST: _auto_contrast,
    Kind.EQUALIZE: _equalize,
}
