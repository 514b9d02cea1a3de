"""Operations of RandAugment and TrivialAugment: which an image gets, and how strongly, in neutral terms.

The operations and the numbers of their steps are those of torchvision (`RandAugment`, `TrivialAugmentWide`).
"""

from enum import IntEnum, unique
from typing import NamedTuple

import numpy as np

from scenerec.config.augment import RandAugmentConfig

STEPS = 31
"""Steps from the weakest to the strongest form of an operation, both included."""
DRAWS = 3
"""Numbers that are drawn for each operation: which, how strongly, in which direction."""


@unique
class Kind(IntEnum):
    """What an operation does, in torchvision's order."""

    IDENTITY = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    ROTATE = 5
    BRIGHTNESS = 6
    COLOR = 7
    CONTRAST = 8
    SHARPNESS = 9
    POSTERIZE = 10
    SOLARIZE = 11
    AUTO_CONTRAST = 12
    EQUALIZE = 13


class Operation(NamedTuple):
    """One operation on an image."""

    kind: Kind
    step: int
    """How strongly, from 0 to STEPS - 1; some kinds have one strength only."""
    negative: bool
    """In the other direction, of a kind that has two."""
    wide: bool
    """By the ranges of TrivialAugment (wide) rather than those of RandAugment."""


Operations = tuple[Operation, ...]
"""What is done to an image, one after another."""


def rand_augment(config: RandAugmentConfig, draws: np.ndarray) -> list[Operations]:
    """The operations of n images, by uniform `draws` [n, num_ops * DRAWS]; all of one strength."""
    return _operations(draws, config.magnitude)


def trivial_augment(draws: np.ndarray) -> list[Operations]:
    """The operation of each of n images, by uniform `draws` [n, DRAWS]."""
    return _operations(draws, None)


def _operations(draws: np.ndarray, step: int | None) -> list[Operations]:
    kind, strength, direction = np.moveaxis(draws.reshape(len(draws), -1, DRAWS), 2, 0)
    kinds, steps, negative = (kind * len(Kind)).astype(int), (strength * STEPS).astype(int), direction < 0.5
    rows = zip(kinds.tolist(), steps.tolist(), negative.tolist(), strict=True)
    return [
        tuple(
            Operation(Kind(number), drawn if step is None else step, less, step is None)
            for number, drawn, less in zip(*row, strict=True)
            if number != Kind.IDENTITY
        )
        for row in rows
    ]
