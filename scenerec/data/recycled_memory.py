"""Memory that goes from batch to batch: that of fresh pages takes longer to get than to fill."""

import math
import weakref

import numpy as np


class RecycledMemory:
    """Arrays whose memory is used again when nobody holds them any more, nor what shares their memory."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """uint8 of `shape`, with any content."""
        size = math.prod(shape)
        buffer = self._free.pop() if self._free else bytearray(size)
        if len(buffer) < size:
            buffer = bytearray(size)
        # What shares an array's memory refers to it, since its own is not an array's: numpy would skip it otherwise.
        array = np.frombuffer(buffer, np.uint8, size)
        weakref.finalize(array, self._free.append, buffer).atexit = False
        return array.reshape(shape)
