"""Pictures with structure at every scale, each another one."""

import numpy as np
from PIL import Image


def texture(seed: int, height: int = 160, width: int = 200) -> np.ndarray:
    """uint8 RGB [height, width, 3]: noise of six octaves, added up."""
    draws = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for octave in range(6):
        small = draws.integers(0, 256, (2 ** (octave + 1), 2 ** (octave + 1), 3), np.uint8)
        total += np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), float) / 2**octave
    total += draws.normal(0, 6, total.shape)
    return (255 * (total - total.min()) / (total.max() - total.min())).astype(np.uint8)
