"""Probabilities over time, smoothed: a frame that is answered oddly does not make another scene."""

import math

import numpy as np


class Smoothing:
    """An exponential moving average by time: s += (1 - exp(-dt / time_constant_s)) (p - s).

    A sequence is smoothed alike at any number of frames a second, also where some are skipped: what a frame counts
    depends on the time since the one before.

    Args:
        time_constant_s: after it, 63 % of a change have come through; 0 smooths nothing.
    """

    def __init__(self, time_constant_s: float) -> None:
        self.time_constant_s = time_constant_s
        self._time_s = 0.0
        self._smoothed: np.ndarray | None = None

    def update(self, time_s: float, probabilities: np.ndarray) -> np.ndarray:
        """Returns the average, float32 [classes], with what a frame says: float32 [classes], at a time in seconds.

        The first frame stands for all before it; one that is not later than the last counts nothing.
        """
        if self._smoothed is None or not self.time_constant_s:
            self._smoothed = probabilities
        else:
            elapsed_s = max(time_s - self._time_s, 0.0)
            share = np.float32(-math.expm1(-elapsed_s / self.time_constant_s))
            self._smoothed = self._smoothed + share * (probabilities - self._smoothed)
        self._time_s = max(time_s, self._time_s)
        return self._smoothed
