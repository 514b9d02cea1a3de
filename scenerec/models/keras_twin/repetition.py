"""Whether layers compute a block for the first time, or once more for its backward pass (scenerec/models/tf_recompute).

What a layer does beside its output it does once: it changes no variable in a repetition, and drops what it has dropped.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf


class Computation:
    """A block that is computed, and once more for its backward pass."""

    def __init__(self) -> None:
        self.repeats = False
        self._drawn: dict[str, tf.Tensor] = {}

    def drawn(self, name: str, draw: Callable[[], tf.Tensor]) -> tf.Tensor:
        """What the layer `name` draws the first time."""
        if not self.repeats:
            self._drawn[name] = draw()
        return self._drawn[name]


COMPUTATION: ContextVar[Computation | None] = ContextVar("computation", default=None)
"""Of the block that is computed now; None: of none that is computed twice."""


@contextmanager
def computing(computation: Computation) -> Iterator[None]:
    """Within, layers compute for this one."""
    token = COMPUTATION.set(computation)
    try:
        yield
    finally:
        COMPUTATION.reset(token)


def repeats() -> bool:
    """Whether what is computed now was computed before."""
    computation = COMPUTATION.get()
    return computation is not None and computation.repeats
