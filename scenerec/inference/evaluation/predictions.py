"""A model's answers for the samples of a set, in order of the manifest: made in shares, merged, written."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save as save_tensors

from scenerec.data.order import validation_range
from scenerec.errors import ModelError, ScenerecError
from scenerec.inference.evaluation.crops import CENTER, average_crops, log_softmax
from scenerec.inference.predictors.predictor import Predictor

RANKED = 5
"""How many classes are kept of each sample's ranking."""
KEPT_LOGITS_BYTES = 256 << 20
"""Most bytes of logits that are kept: those of Places365's validation set fit, of its training set not."""

_ARRAYS = ("labels", "ranked", "log_probabilities", "label_log_probabilities")  # of all predictions, [n, ...]
_OPTIONAL_ARRAYS = ("logits", "predicted_without", "predicted_center", "unscaled_log_probabilities")


class ImageBatch(NamedTuple):
    """Prepared images of a packed set, their labels, and their coordinates."""

    images: np.ndarray
    """Images, uint8 RGB [n * crops, image_size, image_size, 3], the crops of an image in a row."""
    labels: np.ndarray
    """Class indices, int64 [n]; of a multi-label set 1 where a label is, float32 [n, classes]."""
    coordinates: np.ndarray | None = None
    """Latitude, longitude and time of each of `images`, float32 [n * crops, 3], NaN where not known; None: of none."""


@dataclass(frozen=True)
class Clock:
    """When the predictions were made, and how long the model itself took."""

    began_s: float
    """When the first batch was asked for, in seconds since 1970."""
    ended_s: float
    """When the last answer came, in seconds since 1970."""
    model_images: int
    """Images (of ten crops each, where there are ten) that the model was timed with: all but the first batch's."""
    model_s: float
    """Seconds that the model took for them, over all workers."""

    def __add__(self, other: "Clock") -> "Clock":
        return Clock(
            min(self.began_s, other.began_s),
            max(self.ended_s, other.ended_s),
            self.model_images + other.model_images,
            self.model_s + other.model_s,
        )


@dataclass(frozen=True)
class Predictions:
    """A model's answers for the samples `first`, `first` + 1, ... of a set."""

    predictor: str
    """Name of the model."""
    first: int
    """Index of the first sample."""
    labels: np.ndarray
    """Labels of the samples, int64 [n]."""
    ranked: np.ndarray
    """Classes by falling logit, the lower index first among equals: int32 [n, k], k = min(5, classes)."""
    log_probabilities: np.ndarray
    """Logarithms of the ranked classes' probabilities (at the model's temperature), float32 [n, k]."""
    label_log_probabilities: np.ndarray
    """Logarithms of the labels' probabilities, float32 [n]."""
    logits: np.ndarray | None
    """Logits, float32 [n, classes]; None where they would take more than KEPT_LOGITS_BYTES."""
    clock: Clock
    """How long the answers took."""
    predicted_without: np.ndarray | None = None
    """Class that ranks first where the model is told no coordinates, int32 [n]; None where it was told none anyway."""
    predicted_center: np.ndarray | None = None
    """Class that ranks first in the centre crop alone, int32 [n]; None where there are no other crops."""
    unscaled_log_probabilities: np.ndarray | None = None
    """Logarithms of what the probabilities of the class that ranks first and of the label would be at temperature 1,
    float32 [n, 2]; None of a model without a temperature."""
    abstain_below: float | None = None
    """Confidence below which the model gives no answer; None where it always answers."""

    @property
    def samples(self) -> range:
        """Indices of the samples."""
        return range(self.first, self.first + len(self.labels))

    @property
    def predicted(self) -> np.ndarray:
        """Class that ranks first, int32 [n]."""
        return self.ranked[:, 0]

    @property
    def correct(self) -> np.ndarray:
        """Whether the class that ranks first is the label, bool [n]."""
        return self.predicted == self.labels

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the class that ranks first, float32 [n]."""
        return np.exp(self.log_probabilities[:, 0])

    def to_bytes(self, metadata: dict[str, str]) -> bytes:
        """Returns the content of a safetensors file, with `metadata` in its header."""
        names = [*_ARRAYS, *(name for name in _OPTIONAL_ARRAYS if getattr(self, name) is not None)]
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in names}
        return save_tensors(tensors, metadata={**metadata, "first": str(self.first)})


def predict(
    predictor: Predictor,
    batches: Iterable[ImageBatch],
    first: int,
    crops: int,
    keep_logits: bool,
    on_batch: Callable[[int], None] = lambda images: None,
    classes: int | None = None,
    without_coordinates: bool = False,
) -> Predictions:
    """Asks `predictor` for every batch; `on_batch` is called with the number of images after each.

    Args:
        predictor: the model.
        batches: of samples in order, from sample `first` on.
        first: index of the first sample.
        crops: of each image.
        keep_logits: whether all logits are kept.
        on_batch: called with the number of images after each batch.
        classes: of the set, where the model is not known to have as many.
        without_coordinates: asks a model that reads coordinates a second time, without them.

    Raises:
        ModelError: logits are not numbers, or of another number of classes.
    """
    began_s = time.time()
    parts: list[Predictions] = []
    for batch in batches:
        started = time.perf_counter()
        answer = predictor.logits(batch.images, batch.coordinates)
        model_s = time.perf_counter() - started
        logits = average_crops(answer, crops, predictor.temperature)
        if logits.shape[1] != (classes or logits.shape[1]):
            raise ModelError(f"{predictor.name}: gives {logits.shape[1]} logits, and the set has {classes} classes")
        if not np.isfinite(logits).all():
            raise ModelError(f"{predictor.name}: gives logits that are not numbers: the model is damaged or diverged")
        timed = len(batch.labels) if parts else 0  # the first batch sets things up
        clock = Clock(began_s, time.time(), timed, model_s if parts else 0.0)
        temperature = predictor.temperature if crops == 1 else 1.0  # of several, their average has gone through it
        answers = from_logits(predictor.name, first, batch.labels, logits, keep_logits, clock, temperature)
        if predictor.temperature != 1:
            unscaled = _log_probabilities_of(average_crops(answer, crops), answers.predicted, batch.labels)
            answers = replace(answers, unscaled_log_probabilities=unscaled)
        if crops > 1:
            center = answer.reshape(-1, crops, answer.shape[1])[:, CENTER].argmax(axis=1)
            answers = replace(answers, predicted_center=center.astype(np.int32))
        if predictor.abstain_below is not None:
            answers = replace(answers, abstain_below=predictor.abstain_below)
        if without_coordinates and predictor.takes_coordinates and batch.coordinates is not None:
            blind = average_crops(predictor.logits(batch.images), crops)
            answers = replace(answers, predicted_without=blind.argmax(axis=1).astype(np.int32))
        parts.append(answers)
        first += len(batch.labels)
        on_batch(len(batch.labels))
    return merge(parts)


def from_logits(
    predictor: str,
    first: int,
    labels: np.ndarray,
    logits: np.ndarray,
    keep_logits: bool,
    clock: Clock,
    temperature: float = 1.0,
) -> Predictions:
    """Ranks the classes of float32 logits [n, classes], whose probabilities are at `temperature`."""
    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :RANKED]
    log_probabilities = log_softmax(logits, temperature)
    return Predictions(
        predictor,
        first,
        labels,
        ranked.astype(np.int32),
        np.take_along_axis(log_probabilities, ranked, axis=1).astype(np.float32),
        np.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0].astype(np.float32),
        logits if keep_logits else None,
        clock,
    )


def _log_probabilities_of(logits: np.ndarray, *classes: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of some classes of each image, float32 [n, number of `classes`]."""
    return np.take_along_axis(log_softmax(logits), np.stack(classes, axis=1), axis=1).astype(np.float32)


def shares(samples: int, batch_size: int, count: int) -> list[range]:
    """Cuts range(samples) into `count` shares or fewer, at ends of batches: a model sees the same batches as in one."""
    batches = -(-samples // batch_size)
    count = min(count, batches)
    cuts = [validation_range(batches, index, count) for index in range(count)]
    return [range(cut.start * batch_size, min(cut.stop * batch_size, samples)) for cut in cuts]


def merge(parts: Iterable[Predictions]) -> Predictions:
    """Joins the predictions of all parts, in order of the samples.

    Raises ScenerecError where samples are missing or there twice, and where several models answered.
    """
    ordered = sorted(parts, key=lambda part: part.first)
    if not ordered:
        raise ScenerecError("there is nothing to evaluate: the set has no samples")
    if others := {part.predictor for part in ordered} - {ordered[0].predictor}:
        names = f"{ordered[0].predictor} and {sorted(others)[0]}"
        raise ScenerecError(f"both {names} answered, as the run went on meanwhile: name the checkpoint to evaluate")
    clock = ordered[0].clock
    for before, after in pairwise(ordered):
        if before.samples.stop != after.first:
            what = "twice" if after.first < before.samples.stop else "not at all"
            between = sorted((before.samples.stop, after.first))
            raise ScenerecError(f"samples {between[0]} to {between[1] - 1} were evaluated {what}: evaluate again")
        clock += after.clock
    return Predictions(
        predictor=ordered[0].predictor,
        first=ordered[0].first,
        **{name: np.concatenate([getattr(part, name) for part in ordered]) for name in _ARRAYS},
        logits=_joined([part.logits for part in ordered]),
        clock=clock,
        predicted_without=_joined([part.predicted_without for part in ordered]),
        predicted_center=_joined([part.predicted_center for part in ordered]),
        unscaled_log_probabilities=_joined([part.unscaled_log_probabilities for part in ordered]),
        abstain_below=ordered[0].abstain_below,
    )


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The arrays of all parts; None where one has none."""
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None
