"""How long a training takes, by a table of what a core needs for an image. Pure.

`tests/bench/training_costs.py` measures the table. What a GPU is worth is a careful guess: better done too early.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from scenerec.models.table import read_table
from scenerec.models.zoo import architecture
from scenerec.training.choice.facts import DataFacts, Machine

TABLE = Path(__file__).with_name("costs.csv")
YARDSTICK = ("resnet18", 64)
"""Architecture and image size by which a machine is compared with that of the table."""
START_S = {"torch": 20.0, "tensorflow": 30.0}
"""Seconds before the first step: a job, its workers, and what TensorFlow compiles."""

_SLOWER = {"torch": 1.0, "tensorflow": 1.5}  # on cores, as in tests/bench/ray_overhead.csv
_READ_CORE_S = 0.004  # to decode an image and take a view of it
_FORWARD = 1 / 3  # of a step
_STATISTICS_IMAGES = 512  # of an epoch's precise BatchNorm, where its momentum is small
_SMALL_MOMENTUM = 0.05
_GPU_CORES = 200.0
_GENERAL = "resnet50"  # by whose GFLOPs others are judged, half as dear again
_UNKNOWN_DEARER = 1.5


@dataclass(frozen=True)
class Cost:
    """What an image of a size costs in training; a row of the table."""

    arch: str
    image_size: int
    core_ms: float
    """Milliseconds of a core, forward and backward."""
    held_mb: float
    """Megabytes that are held for the backward pass."""


def training_cost(arch: str, image_size: int) -> Cost:
    """The cost of an image of any architecture and size: in between in proportion to the pixels.

    Of an architecture that is not in the table, by its GFLOPs.
    """
    rows = _rows().get(arch)
    if rows is None:
        entry, general = architecture(arch), architecture(_GENERAL)
        dearer = _UNKNOWN_DEARER * (entry.gflops_224 or entry.gflops) / general.gflops
        like = training_cost(_GENERAL, image_size)
        return Cost(arch, image_size, like.core_ms * dearer, like.held_mb * max(dearer, 1.0))
    pixels = [row.image_size**2 for row in rows]
    core_ms, held_mb = (
        _between(image_size**2, pixels, [getattr(row, what) for row in rows]) for what in ("core_ms", "held_mb")
    )
    return Cost(arch, image_size, core_ms, held_mb)


def epoch_seconds(arch: str, image_size: int, framework: str, data: DataFacts, machine: Machine) -> float:
    """How long an epoch takes on all of a machine: training, validation, and BatchNorm's statistics."""
    momentum = architecture(arch).batchnorm_momentum
    again = _STATISTICS_IMAGES if momentum is not None and momentum < _SMALL_MOMENTUM else 0
    images = data.images + _FORWARD * (data.val_images + min(again, data.images))
    compute_s = images * training_cost(arch, image_size).core_ms / 1000 * _SLOWER[framework] / machine.speed
    read_s = (data.images + data.val_images) * _READ_CORE_S / machine.speed
    cores = machine.nodes * machine.cpus
    if machine.gpus:
        return max(compute_s / (machine.nodes * machine.gpus * _GPU_CORES), read_s / cores)
    return (compute_s + read_s) / cores


def speed_of(core_s: float) -> float:
    """How many times as fast a core is as the table's that takes so long for an image of the yardstick."""
    return training_cost(*YARDSTICK).core_ms / 1000 / core_s


def _between(at: float, places: list[int], values: list[float]) -> float:
    """The value at a place: between its neighbours in proportion; beyond the last, too; below the first as there."""
    if at > places[-1]:
        return values[-1] * at / places[-1]
    return float(np.interp(at, places, values))


@cache
def _rows() -> dict[str, list[Cost]]:
    """The table's rows by architecture, the smallest size first."""
    found: dict[str, list[Cost]] = {}
    for row in sorted(read_table(TABLE, Cost), key=lambda row: row.image_size):
        found.setdefault(row.arch, []).append(row)
    return found
