"""A multi-label model's answers for the samples of a set, in order of the manifest: made in shares, merged, written."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from safetensors.numpy import save as save_tensors

from scenerec.errors import ModelError, ScenerecError
from scenerec.inference.evaluation.predictions import Clock, ImageBatch
from scenerec.inference.predictors.predictor import Predictor, sigmoid


@dataclass(frozen=True)
class MultilabelPredictions:
    """A model's answers for the samples `first`, `first` + 1, ... of a multi-label set."""

    predictor: str
    """Name of the model."""
    first: int
    """Index of the first sample."""
    labels: np.ndarray
    """Whether a sample has a label, bool [n, classes]."""
    logits: np.ndarray
    """Logits, float32 [n, classes]."""
    thresholds: tuple[float, ...]
    """Probability from which on the model gives each label."""
    clock: Clock
    """How long the answers took."""

    @property
    def samples(self) -> range:
        """Indices of the samples."""
        return range(self.first, self.first + len(self.labels))

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities, float32 [n, classes]."""
        return sigmoid(self.logits)

    @property
    def given(self) -> np.ndarray:
        """Whether the model gives a label, bool [n, classes]."""
        return self.probabilities >= np.array(self.thresholds)

    def to_bytes(self, metadata: dict[str, str]) -> bytes:
        """Returns the content of a safetensors file, with `metadata` in its header."""
        tensors = {"labels": self.labels, "logits": self.logits, "thresholds": np.array(self.thresholds)}
        return save_tensors(tensors, metadata={**metadata, "first": str(self.first)})


def predict_labels(
    predictor: Predictor,
    batches: Iterable[ImageBatch],
    first: int,
    crops: int,
    classes: int,
    on_batch: Callable[[int], None] = lambda images: None,
) -> MultilabelPredictions:
    """Asks `predictor` for every batch; `on_batch` is called with the number of images after each.

    The arguments are those of `scenerec.inference.evaluation.predictions.predict`. Of several crops the probabilities
    are averaged. Raises ModelError: logits are not numbers, or of another number of classes.
    """
    began_s = time.time()
    parts: list[MultilabelPredictions] = []
    for batch in batches:
        started = time.perf_counter()
        answer = predictor.logits(batch.images, batch.coordinates)
        model_s = time.perf_counter() - started
        if answer.shape[1] != classes:
            raise ModelError(f"{predictor.name}: gives {answer.shape[1]} logits, and the set has {classes} classes")
        if not np.isfinite(answer).all():
            raise ModelError(f"{predictor.name}: gives logits that are not numbers: the model is damaged or diverged")
        timed = len(batch.labels) if parts else 0  # the first batch sets things up
        clock = Clock(began_s, time.time(), timed, model_s if parts else 0.0)
        logits, thresholds = _average_crops(answer, crops), predictor.thresholds(classes)
        parts.append(MultilabelPredictions(predictor.name, first, batch.labels > 0, logits, thresholds, clock))
        first += len(batch.labels)
        on_batch(len(batch.labels))
    return merge_labels(parts)


def merge_labels(parts: Iterable[MultilabelPredictions]) -> MultilabelPredictions:
    """Joins the predictions of all parts, in order of the samples. Raises ScenerecError where some are missing."""
    ordered = sorted(parts, key=lambda part: part.first)
    if not ordered:
        raise ScenerecError("there is nothing to evaluate: the set has no samples")
    clock = ordered[0].clock
    for before, after in pairwise(ordered):
        if before.samples.stop != after.first or before.predictor != after.predictor:
            raise ScenerecError("samples were evaluated twice, or not at all, or by several models: evaluate again")
        clock += after.clock
    labels, logits = (np.concatenate([getattr(part, name) for part in ordered]) for name in ("labels", "logits"))
    return MultilabelPredictions(ordered[0].predictor, ordered[0].first, labels, logits, ordered[0].thresholds, clock)


def _average_crops(logits: np.ndarray, crops: int) -> np.ndarray:
    """The logit of the mean probability of an image's crops, float32 [n, classes], of [n * crops, classes]."""
    if crops == 1:
        return logits
    of_crops = logits.astype(np.float64).reshape(-1, crops, logits.shape[1])
    odds = [sigmoid(sign * of_crops).mean(axis=1) for sign in (1, -1)]  # that it is there, that it is not
    return np.log(odds[0] / odds[1]).astype(np.float32)
