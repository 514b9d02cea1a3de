"""What is measured of a set, and what the numbers mean."""

from pathlib import Path

import pytest

from scenerec.data.bench import AUGMENT, DECODE, FETCH, Timing, judge, measure
from scenerec.data.packed_set import open_set

BATCHES = "torch batches"


def timings(fetch: float, decode: float, augment: float, batches: float, per_core: float) -> list[Timing]:
    """With four threads, and slower ones with one, which are not to count."""
    speeds = {FETCH: fetch, DECODE: decode, AUGMENT: augment, BATCHES: batches}
    few = [Timing(stage, 1, 1.0, 1.0, 1.0) for stage in speeds]
    return few + [Timing(stage, 4, speed, per_core, speed / 50) for stage, speed in speeds.items()]


@pytest.mark.parametrize(
    ("speeds", "limit"),
    [
        ((900, 8000, 4000, 890), "the store: it delivers 900 images/s"),
        ((90_000, 5000, 4000, 3900), "the cores: decoding takes 78% of the time"),
        ((90_000, 9000, 3000, 2900), "the cores: cropping and resizing takes 64% of the time"),
        ((90_000, 9000, 6000, 1000), "the cores: fetching and making batches takes 83% of the time"),
        ((90_000, 3000, 5000, 4900), "the cores: decoding takes 98% of the time"),  # only a part of each is decoded
    ],
)
def test_what_takes_the_time_is_said(speeds: tuple[float, float, float, float], limit: str) -> None:
    assert judge(timings(*speeds, per_core=620), "torch", 2500).limit == limit


def test_a_gpu_needs_as_many_cores_as_feed_it() -> None:
    found = timings(90_000, 9000, 6000, 2400, per_core=620)
    for speed, cores in ((2500, 5), (620, 1), (621, 2)):
        assert judge(found, "torch", speed).cores_per_gpu == cores
    assert judge(found, "torch", 2500).images_per_core_s == 620


def test_every_stage_is_measured(scenes: Path) -> None:
    """An epoch has fewer batches than are taken before the clock begins: it goes on."""
    data = open_set(f"{scenes}/train")
    found = list(measure(data, 32, [1, 2], 0.05, ("torch", "tensorflow")))
    stages = [FETCH, DECODE, AUGMENT, BATCHES, "tensorflow batches"]
    assert [(each.stage, each.threads) for each in found] == [(stage, n) for stage in stages for n in (1, 2)]
    assert all(min(each.images_per_s, each.images_per_cpu_s, each.encoded_mb_per_s) > 0 for each in found)
