"""How fast a model answers: latency and images/s by batch size and threads, beside a raw onnxruntime session."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor, open_session

_WARM_UP_CALLS = 3
_FEWEST_CALLS = 10


@dataclass(frozen=True)
class Timing:
    """How fast a model answers at one batch size, with one number of threads."""

    batch_size: int
    """Images in a call."""
    threads: int
    """Threads of the operators, in one session."""
    calls: int
    """Calls that were timed, of the model and of the bare session each."""
    p50_ms: float
    """Median time of a call, in milliseconds."""
    p99_ms: float
    """Time that 99 of 100 calls keep, in milliseconds."""
    images_per_s: float
    """Images per second, by the median time."""
    raw_p50_ms: float
    """Median time of a bare `InferenceSession.run` on the same file, called in turn with the model."""
    ratio: float
    """Median over pairs of calls of the bare time / the model's time: 1 is the physical limit."""


def measure(
    bundle: Bundle, batch_sizes: Sequence[int], threads: Sequence[int], seconds_each: float = 2.0
) -> Iterator[Timing]:
    """Times a bundle of format onnx, and yields a `Timing` after the other. Raises BundleError."""
    size = bundle.info.preprocessing.image_size
    rng = np.random.default_rng(0)
    for count in threads:
        model = OnnxPredictor(bundle, threads=count)
        raw = open_session(bundle.model_file, threads=count)
        for batch_size in batch_sizes:
            images = rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
            yield _time(model, raw, images, count, seconds_each)


def _time(
    model: OnnxPredictor, raw: onnxruntime.InferenceSession, images: np.ndarray, threads: int, seconds: float
) -> Timing:
    prepared = model.feeds(images)

    def ours() -> None:
        model.logits(images)

    def bare() -> None:
        raw.run([model.output_name], prepared)

    pairs = interleaved(ours, bare, seconds)
    ours_s, bare_s = (sorted(times) for times in zip(*pairs, strict=True))
    p50_s = statistics.median(ours_s)
    return Timing(
        batch_size=len(images),
        threads=threads,
        calls=len(pairs),
        p50_ms=p50_s * 1e3,
        p99_ms=percentile(ours_s, 0.99) * 1e3,
        images_per_s=len(images) / p50_s,
        raw_p50_ms=statistics.median(bare_s) * 1e3,
        ratio=statistics.median(b / a for a, b in pairs),
    )


def interleaved(
    first: Callable[[], object],
    second: Callable[[], object],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, float]]:
    """Times two calls in turn, for about `seconds` in all, so that what disturbs one disturbs the other.

    Returns the seconds of each pair of calls, by `clock`: with `time.thread_time` those that this thread computed,
    whoever else was computing.
    """
    for _ in range(_WARM_UP_CALLS):
        first()
        second()
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(pairs) < _FEWEST_CALLS or time.perf_counter() < end:
        if len(pairs) % 2:
            second_s, first_s = _seconds(second, clock), _seconds(first, clock)
        else:
            first_s, second_s = _seconds(first, clock), _seconds(second, clock)
        pairs.append((first_s, second_s))
    return pairs


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the nearest-rank percentile: the smallest of ordered values that `share` of them do not exceed."""
    rank = max(int(np.ceil(share * len(ordered))), 1)
    return ordered[rank - 1]


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start
