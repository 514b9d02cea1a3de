"""From frames to scenes: each frame is prepared, answered, smoothed, and may change the scene."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from scenerec.inference.predictors.photograph import Preparer
from scenerec.inference.predictors.predictor import Predictor, abstains
from scenerec.inference.watch.changes import Change, SceneChanges, Thresholds
from scenerec.inference.watch.frames import Frame
from scenerec.inference.watch.smoothing import Smoothing
from scenerec.inference.watch.timing import Timing


@dataclass(frozen=True)
class Answer:
    """What is said of a frame."""

    frame: Frame
    """The frame."""
    probabilities: np.ndarray
    """What the network says of this frame alone, float32 [classes]."""
    smoothed: np.ndarray
    """The same with the frames before it, float32 [classes]."""
    scene: int | None
    """Index of the class that holds; None where none is sure."""
    change: Change | None
    """The change of the scene that this frame made."""
    skipped: int
    """Frames that came since the one before, and were not answered."""
    latency_s: float
    """Seconds from the frame to the answer."""
    abstained: bool | None = None
    """Whether the network is not sure enough of this frame; None where it has no threshold for that."""


class Watcher:
    """Answers frame after frame by one network.

    Args:
        predictor: the network.
        time_constant_s: of the smoothing, in seconds.
        thresholds: when a scene is told.
        coordinates: where the frames are taken, as in `Predictor.logits`, float32 [1, 3]; None where that is not known.

    Attributes:
        timing: of the frames so far.
    """

    def __init__(
        self,
        predictor: Predictor,
        time_constant_s: float,
        thresholds: Thresholds,
        coordinates: np.ndarray | None = None,
    ) -> None:
        self.predictor = predictor
        self.coordinates = coordinates
        self.timing = Timing()
        self._prepare = Preparer.of(predictor)
        self._smoothing = Smoothing(time_constant_s)
        self._changes = SceneChanges(thresholds)
        self._next_number = 0

    def warm_up(self) -> None:
        """Lets the network compute once, as the first time takes longer."""
        size = self.predictor.image_size
        self.predictor.logits(np.zeros((1, size, size, 3), np.uint8), self.coordinates)

    def watch(self, frames: Iterable[Frame]) -> Iterator[Answer]:
        """Yields the answer to each frame. Raises what `frames` raises, and PictureError."""
        for frame in frames:
            yield self._answer(frame)

    def _answer(self, frame: Frame) -> Answer:
        began_at = perf_counter()
        image = self._prepare.pixels(frame.pixels)
        if frame.channels == "BGR":  # no colour is mixed with another before: quicker on what is left
            image = np.ascontiguousarray(image[..., ::-1])
        (probabilities,) = self.predictor.probabilities(image[np.newaxis], self.coordinates)
        smoothed = self._smoothing.update(frame.time_s, probabilities)
        change = self._changes.update(frame.time_s, smoothed)
        answered_at = perf_counter()
        skipped, self._next_number = frame.number - self._next_number, frame.number + 1
        self.timing.add(frame.captured_at, began_at, answered_at, skipped)
        latency_s = answered_at - frame.captured_at
        threshold = self.predictor.abstain_below
        abstained = None if threshold is None else abstains(probabilities, threshold)
        return Answer(frame, probabilities, smoothed, self._changes.scene, change, skipped, latency_s, abstained)
