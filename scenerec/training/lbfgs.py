"""L-BFGS (Nocedal 1980; Nocedal and Wright 2006, algorithm 7.5) for a smooth convex function. Pure."""

from collections import deque
from collections.abc import Callable

import numpy as np

_PAIRS = 10  # of steps and changes of the gradient that are remembered
_SUFFICIENT = 1e-4  # of the decrease that the gradient promises (Armijo 1966)
_SHORTEST = 1e-10


def minimize(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    iterations: int = 500,
    tolerance: float = 1e-6,
) -> np.ndarray:
    """Where `function` is least, which gives value and gradient at a float64 array like `start`.

    It ends after so many iterations, or where no part of the gradient exceeds `tolerance`.
    """
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_PAIRS)
    at, (value, gradient) = start, function(start)
    for _ in range(iterations):
        if np.abs(gradient).max() <= tolerance:
            break
        direction = -_inverse_hessian_times(gradient, pairs)
        slope, length = np.vdot(direction, gradient), 1.0 if pairs else 1 / max(float(np.linalg.norm(gradient)), 1.0)
        while True:
            after = at + length * direction
            lower, changed = function(after)
            if lower <= value + _SUFFICIENT * length * slope or length < _SHORTEST:
                break
            length /= 2
        if lower >= value:  # as low as rounding lets it
            break
        if np.vdot(after - at, changed - gradient) > 0:
            pairs.append((after - at, changed - gradient))
        at, value, gradient = after, lower, changed
    return at


def _inverse_hessian_times(gradient: np.ndarray, pairs: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The recursion over both loops (Nocedal and Wright 2006, algorithm 7.4)."""
    result, shares = gradient, []
    for step, change in reversed(pairs):
        shares.append(np.vdot(step, result) / np.vdot(step, change))
        result = result - shares[-1] * change
    if pairs:
        step, change = pairs[-1]
        result = result * (np.vdot(step, change) / np.vdot(change, change))
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        result = result + (share - np.vdot(change, result) / np.vdot(step, change)) * step
    return result
