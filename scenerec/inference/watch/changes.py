"""Which scene it is, by hysteresis: a scene that changes is told once, and one that flickers is not told."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Change:
    """Another scene than before."""

    time_s: float
    """When it was told, in seconds of the sequence."""
    scene: int | None
    """Index of the class; None where no scene is sure any more."""
    previous: int | None
    """Index of the class before; None where none was sure."""
    probability: float
    """Smoothed probability of the scene; of the previous one where none is sure any more."""


@dataclass(frozen=True)
class Thresholds:
    """When a scene is told, and when it is over."""

    enter: float
    """A scene is told from this probability on."""
    leave: float
    """A scene lasts as long as it has this probability; at most `enter`."""
    dwell_s: float
    """How long another scene, or none, must have been seen without a break before it is told, in seconds."""


class SceneChanges:
    """Tells each change of the scene once.

    The scene holds while its probability is at least `leave`. Below it, the most probable class with at least `enter`
    comes next, or none. What comes next must be the same for `dwell_s`: so much time lies between any two changes.

    Attributes:
        scene: the class index that holds; None where none is sure.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.scene: int | None = None
        self._next: int | None = None
        self._next_since_s = 0.0

    def update(self, time_s: float, probabilities: np.ndarray) -> Change | None:
        """Returns the change that a frame makes, by its smoothed probabilities [classes] and its time in seconds."""
        seen = self._seen(probabilities)
        if seen != self._next:
            self._next, self._next_since_s = seen, time_s
        if seen == self.scene or time_s - self._next_since_s < self.thresholds.dwell_s:
            return None
        previous, self.scene = self.scene, seen
        told = previous if seen is None else seen
        return Change(time_s, seen, previous, float(probabilities[told]))

    def _seen(self, probabilities: np.ndarray) -> int | None:
        if self.scene is not None and probabilities[self.scene] >= self.thresholds.leave:
            return self.scene
        best = int(np.argmax(probabilities))
        return best if probabilities[best] >= self.thresholds.enter else None
