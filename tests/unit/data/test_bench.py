"""What is measured of a set, and what the numbers mean."""

from pathlib import Path

import pytest

from scenerec.data.bench import AUGMENT, DECODE, FETCH, Timing, judge, measure
from scenerec.data.packed_set import open_set

BATCHES = "torch batches"


def timings(fetch: float, decode: float, augment: float, batches: float) -> list[Timing]:
    """With four threads on four cores, and slower ones with one, which are not to count."""
    speeds = {FETCH: fetch, DECODE: decode, AUGMENT: augment, BATCHES: batches}
    few = [Timing(stage, 1, 1.0, 1.0, 1.0) for stage in speeds]
    return few + [Timing(stage, 4, speed, speed / 4, speed / 50) for stage, speed in speeds.items()]


@pytest.mark.parametrize(
    ("speeds", "limit"),
    [
        ((900, 8000, 4000, 890), "the store: it delivers 900 images/s"),
        ((90_000, 5000, 4000, 3900), "the cores: decoding takes 78% of their time"),
        ((90_000, 9000, 3000, 2900), "the cores: cropping and resizing takes 64% of their time"),
        ((90_000, 9000, 6000, 1000), "the cores: fetching and making batches takes 83% of their time"),
        ((90_000, 3000, 5000, 4900), "the cores: decoding takes 98% of their time"),  # only a part of each is decoded
    ],
)
def test_what_takes_the_time_is_said(speeds: tuple[float, float, float, float], limit: str) -> None:
    assert judge(timings(*speeds), "torch", 2500).limit == limit


@pytest.mark.parametrize(("gpu_images_per_s", "cores"), [(2500, 5), (620, 1), (621, 2)])
def test_a_gpu_needs_as_many_cores_as_feed_it(gpu_images_per_s: float, cores: int) -> None:
    verdict = judge(timings(90_000, 9000, 6000, 2480), "torch", gpu_images_per_s)
    assert (verdict.images_per_core_s, verdict.cores_per_gpu) == (620, cores)


@pytest.mark.slow
def test_every_stage_is_measured(scenes: Path) -> None:
    """An epoch has fewer batches than are taken before the clock begins: it goes on."""
    data = open_set(f"{scenes}/train")
    found = list(measure(data, 32, [1, 2], 0.05, ("torch", "tensorflow")))
    stages = [FETCH, DECODE, AUGMENT, BATCHES, "tensorflow batches"]
    assert [(each.stage, each.threads) for each in found] == [(stage, n) for stage in stages for n in (1, 2)]
    assert all(min(each.images_per_s, each.images_per_cpu_s, each.encoded_mb_per_s) > 0 for each in found)
