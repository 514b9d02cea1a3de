"""How fast this machine feeds images of a packed set to training, stage by stage, and what it is that limits."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from math import ceil
from typing import Any, NamedTuple, cast

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.data.augment import View
from scenerec.data.packed_image import decode
from scenerec.data.packed_set import PackedSet
from scenerec.data.stream import Cursor, TrainingOrder, training_batches
from scenerec.world import World

FETCH, DECODE, AUGMENT = "fetch", "decode", "decode, crop, resize"
FRAMEWORKS = ("torch", "tensorflow")
_WARM_UP_BATCHES = 6
"""More than a reader has ready: what was decoded before the clock began would count as speed."""
_LANES = 12
_HELD_BYTES = 64_000_000
_HELD_IMAGES = 2000


@dataclass(frozen=True)
class Timing:
    """The speed of one stage."""

    stage: str
    """FETCH: shards are fetched, checked and cut. DECODE, AUGMENT: of encoded images in memory. `torch batches`,
    `tensorflow batches`: all of it, as a training run does it."""
    threads: int
    images_per_s: float
    images_per_cpu_s: float
    """Images for each second of a core that this process has used."""
    encoded_mb_per_s: float
    """Encoded images, in 10^6 bytes/s."""


@dataclass(frozen=True)
class Verdict:
    """What the timings mean for a training run."""

    framework: str
    images_per_core_s: float
    """What one core feeds."""
    limit: str
    """What takes the time, in words."""
    cores_per_gpu: int
    """Cores that a GPU of the wanted speed needs."""


def measure(
    data: PackedSet,
    image_size: int,
    threads: Sequence[int],
    seconds: float,
    frameworks: Sequence[str] = FRAMEWORKS,
    batch_size: int = 64,
) -> Iterator[Timing]:
    """Times each stage with each number of threads, `seconds` each, and yields what it has measured as it comes.

    Images are augmented as by default (random crops, flips). Raises DataError, StorageError.
    """
    from scenerec.data.torch_pixels import decoding_threads, training_pixels  # torch takes seconds to load

    batch_size = min(batch_size, data.manifest.samples)
    order = TrainingOrder(0, min(_LANES, data.manifest.samples), batch_size, epochs=1_000_000)
    held = _hold(data, order)
    stages: dict[str, Callable[[int], tuple[int, int]]] = {
        FETCH: partial(_fetch, data),
        DECODE: partial(_apply, held, lambda image: decode(image.encoded)),
        AUGMENT: partial(_apply, held, lambda image: training_pixels(image.encoded, image.view, image_size)),
    }
    for stage, work in stages.items():
        for number in threads:
            with decoding_threads(number) as executor:
                yield _in_threads(stage, work, executor, number, seconds)
    mean_bytes = sum(len(image.encoded) for image in held) / len(held)
    for framework in frameworks:
        for number in threads:
            batches = _training_input(framework, data, image_size, order, number)
            yield _consume(f"{framework} batches", batches, number, seconds, mean_bytes)


def judge(timings: Sequence[Timing], framework: str, gpu_images_per_s: float) -> Verdict:
    """What limits a run in `framework`, by its timings with the most threads, and how many cores a GPU needs.

    The shares of a core's time are those of CPU-seconds: on a machine that others use, only they hold.
    """
    most = max(timing.threads for timing in timings)
    speeds = {timing.stage: timing for timing in timings if timing.threads == most}
    batches = speeds[f"{framework} batches"]
    if speeds[FETCH].images_per_s < speeds[AUGMENT].images_per_s:
        limit = f"the store: it delivers {speeds[FETCH].images_per_s:,.0f} images/s"
    else:
        stages = (speeds[DECODE], speeds[AUGMENT], batches)
        decoded_s, augmented_s, batched_s = (1 / timing.images_per_cpu_s for timing in stages)
        spent = {
            "decoding": min(decoded_s, augmented_s),  # where little of an image is needed, not all of it is decoded
            "cropping and resizing": augmented_s - decoded_s,
            "fetching and making batches": batched_s - augmented_s,
        }
        what = max(spent, key=spent.__getitem__)
        limit = f"the cores: {what} takes {min(spent[what] / batched_s, 1):.0%} of their time"
    per_core = batches.images_per_cpu_s
    return Verdict(framework, per_core, limit, ceil(gpu_images_per_s / per_core))


class _Held(NamedTuple):
    """An encoded image in memory, and how it is augmented."""

    encoded: bytes
    view: View


def _hold(data: PackedSet, order: TrainingOrder) -> list[_Held]:
    held: list[_Held] = []
    size_bytes = 0
    with closing(training_batches(data, order, AugmentConfig())) as batches:
        for batch in batches:
            held += map(_Held, batch.images, cast(list[View], batch.views))
            size_bytes += sum(map(len, batch.images))
            if size_bytes >= _HELD_BYTES or len(held) >= min(_HELD_IMAGES, data.manifest.samples):
                break
    return held


def _fetch(data: PackedSet, turn: int) -> tuple[int, int]:
    samples = data.read(turn % len(data.manifest.shards))
    return len(samples), sum(len(sample.image) for sample in samples)


def _apply(held: Sequence[_Held], work: Callable[[_Held], object], turn: int) -> tuple[int, int]:
    image = held[turn % len(held)]
    work(image)
    return 1, len(image.encoded)


def _in_threads(
    stage: str, work: Callable[[int], tuple[int, int]], executor: ThreadPoolExecutor, threads: int, seconds: float
) -> Timing:
    """Times `work`, which is called with numbers from 0 on and returns images and bytes done."""
    turns = count()  # whoever is free takes the next
    began_s, cpu_began_s = time.perf_counter(), time.process_time()

    def run() -> tuple[int, int]:
        images, size_bytes = 0, 0
        while time.perf_counter() < began_s + seconds:
            more, more_bytes = work(next(turns))
            images, size_bytes = images + more, size_bytes + more_bytes
        return images, size_bytes

    done = [task.result() for task in [executor.submit(run) for _ in range(threads)]]
    images, size_bytes = map(sum, zip(*done, strict=True))
    return _timing(stage, threads, images, size_bytes, began_s, cpu_began_s)


def _consume(
    stage: str, batches: Generator[Any, None, None], threads: int, seconds: float, mean_bytes: float
) -> Timing:
    """Times how fast batches come, once those are gone that were made ahead."""
    with closing(batches):
        for _ in islice(batches, _WARM_UP_BATCHES):
            pass
        images, began_s, cpu_began_s = 0, time.perf_counter(), time.process_time()
        for batch in batches:
            images += len(batch.labels)
            if time.perf_counter() >= began_s + seconds:
                break
        return _timing(stage, threads, images, images * mean_bytes, began_s, cpu_began_s)


def _timing(stage: str, threads: int, images: int, size_bytes: float, began_s: float, cpu_began_s: float) -> Timing:
    elapsed_s, cpu_s = time.perf_counter() - began_s, max(time.process_time() - cpu_began_s, 1e-9)
    return Timing(
        stage,
        threads,
        round(images / elapsed_s, 1),
        round(images / cpu_s, 1),
        round(size_bytes / elapsed_s / 1e6, 1),
    )


def _training_input(
    framework: str, data: PackedSet, image_size: int, order: TrainingOrder, threads: int
) -> Generator[Any, None, None]:
    """The batches of a training run in this process."""
    config = DataConfig(train=data.url, val=data.url, image_size=image_size)
    if framework == "torch":
        from scenerec.data import torch_input

        return torch_input.training_input(data, config, order, World(), Cursor(), threads)
    from scenerec.data import tf_input  # whose framework takes seconds to load

    return tf_input.training_input(data, config, order, World(), Cursor(), threads)
