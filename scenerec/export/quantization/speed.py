"""How much faster one model is than another on this machine."""

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenerec.inference.predictors.latency import interleaved
from scenerec.inference.predictors.predictor import Predictor

BATCH_SIZES = (1, 8)
"""Batch sizes at which speeds are compared."""


@dataclass(frozen=True)
class SpeedUp:
    """The speed of a model over a base, at one batch size, on one thread.

    Times are those the thread computed: the wall-clock ones of a machine that does nothing else.
    """

    batch_size: int
    """Images in a call."""
    base_ms: float
    """Median time of a call of the base, in milliseconds."""
    ms: float
    """Median time of a call of the model, in milliseconds."""
    ratio: float
    """Median over pairs of calls of the base's time / the model's time."""
    low: float
    """First quartile of the pairs' ratios."""
    high: float
    """Third quartile of the pairs' ratios."""

    def __str__(self) -> str:
        return f"{self.ratio:.2f}x at batch {self.batch_size}"


def compare(
    base: Predictor, model: Predictor, seconds: float = 1.5, batch_sizes: Sequence[int] = BATCH_SIZES
) -> tuple[SpeedUp, ...]:
    """Calls both in turn, for about `seconds` at each batch size; both must compute on one thread."""
    return tuple(_compare(base, model, seconds, batch_size) for batch_size in batch_sizes)


def _compare(base: Predictor, model: Predictor, seconds: float, batch_size: int) -> SpeedUp:
    shape = (batch_size, base.image_size, base.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    pairs = interleaved(lambda: base.logits(images), lambda: model.logits(images), seconds, time.thread_time)
    low, ratio, high = statistics.quantiles([base_s / model_s for base_s, model_s in pairs], n=4)
    base_ms, ms = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    return SpeedUp(batch_size, base_ms, ms, ratio, low, high)


def processor() -> str:
    """Names this machine's processor, as Linux calls it."""
    try:
        description = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return description.partition("model name")[2].partition("\n")[0].strip("\t :") or platform.machine()
