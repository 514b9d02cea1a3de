"""The networks that could be trained on some data, from the best to the cheapest, and the first that time allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from scenerec.errors import PlanError
from scenerec.models.zoo import Architecture, architecture
from scenerec.training.choice.costs import START_S, epoch_seconds
from scenerec.training.choice.facts import DataFacts, Machine

FRAMEWORK, ARCH, SIZE, WEIGHTS = "framework", "model.arch", "data.image_size", "model.weights"
BATCH, EPOCHS, WORKERS = "optimize.global_batch_size", "optimize.epochs", "scale.workers"
LR, OPTIMIZER = "optimize.lr", "optimize.optimizer"
RECIPE = "recipe"

CANDIDATE_ARCHITECTURES = ("resnet50", "mobilenet_v3_large", "resnet18", "mobilenet_v3_small")
"""All that is chosen from."""
LARGE_SET = 20_000
"""Images from which on a large network learns more than it learns by heart."""
LONG_EPOCHS = 30
"""So many epochs are a long training: few images are varied more, and sharp answers are dampened."""

_SIZES_PX = (224, 192, 160, 128, 96, 64)
_LEAST_SIZE_PX = 32
_LEAST_OF_LARGE_PX = 160  # at which a large network is better than a small one
_MOST_TIMES = 3  # as many epochs as are wanted: more would help little
_MOST_EPOCHS = 300
_BATCHES = (256, 128, 64, 32, 16, 8)
_LARGEST_BATCH_ON_CPU = 64
_LEAST_STEPS = 20  # of an epoch, where a smaller batch can give them


class _Wanted(NamedTuple):
    """What learning well takes: so many epochs and, where there are few images, so many steps."""

    epochs: int
    steps: int

    def of(self, steps_per_epoch: int) -> int:
        return min(max(self.epochs, ceil(self.steps / steps_per_epoch)), _MOST_EPOCHS)


_RANDOM, _TUNED = _Wanted(40, 800), _Wanted(8, 160)
_RANDOM_AT_LEAST = _Wanted(12, 250)  # at the smallest size: rather so few than a weaker network


@dataclass(frozen=True)
class Weights:
    """The published weights that can be had."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Name of the weights by architecture; none where they cannot be had."""
    reason: str = ""
    """Where they come from, or why they cannot be had."""


class Candidate(NamedTuple):
    """A network that could be trained."""

    arch: str
    image_size: int
    weights: str
    """`none`, or what it begins with."""
    wanted_epochs: int
    """Epochs for which it is taken."""
    most_epochs: int
    """Epochs from which on more would help little."""
    epoch_s: float
    """How long an epoch takes."""

    @property
    def is_tuned(self) -> bool:
        """Whether it begins with weights that know something."""
        return self.weights != "none"


def candidates(data: DataFacts, machine: Machine, weights: Weights, stated: Mapping[str, Any]) -> list[Candidate]:
    """All that could be trained, the best first, around what is stated."""
    framework = stated.get(FRAMEWORK, "torch")
    steps_per_epoch = max(data.images // stated.get(BATCH, batch_for(data, machine)), 1)
    ladder = _ladder(data, weights, stated)
    smallest = min(size for _, size, _ in ladder)
    found = []
    for arch, size, name in ladder:
        well = _RANDOM if name == "none" else _TUNED
        wanted = _RANDOM_AT_LEAST if name == "none" and size == smallest else well
        most = min(_MOST_TIMES * well.of(steps_per_epoch), _MOST_EPOCHS)
        epoch_s = epoch_seconds(arch, size, framework, data, machine)
        found.append(Candidate(arch, size, name, wanted.of(steps_per_epoch), most, epoch_s))
    return found


def first_that_fits(
    found: Sequence[Candidate], minutes: float, data: DataFacts, machine: Machine, stated: Mapping[str, Any]
) -> tuple[Candidate, int]:
    """The first candidate that sees the images often enough within the minutes, else the cheapest; and its epochs.

    Raises PlanError where the minutes do not suffice for an epoch of the cheapest.
    """
    start_s = START_S[stated.get(FRAMEWORK, "torch")]
    budget_s = 60 * minutes - start_s
    cheapest = min(reversed(found), key=lambda each: each.epoch_s)
    if EPOCHS in stated:
        epochs = int(stated[EPOCHS])
        return next((each for each in found if epochs * each.epoch_s <= budget_s), cheapest), epochs
    taken = next((each for each in found if each.wanted_epochs * each.epoch_s <= budget_s), cheapest)
    epochs = min(int(budget_s / taken.epoch_s), taken.most_epochs)
    if epochs < 1:
        raise PlanError(
            f"--minutes {minutes:g}: an epoch of {data.images:,} images takes {cheapest.epoch_s / 60:.1f} minutes with "
            f"{cheapest.arch} at {cheapest.image_size} px on {machine.words}, and its start {start_s:.0f} s: give it "
            f"--minutes {ceil((start_s + cheapest.epoch_s) / 60)} or more, fewer images, or more cores"
        )
    return taken, epochs


def sizes_for(data: DataFacts) -> list[int]:
    """Image sizes that the images fill, the largest first."""
    least = max(_LEAST_SIZE_PX, data.short_side // 32 * 32)
    return [size for size in _SIZES_PX if size <= data.short_side] or [least]


def batch_for(data: DataFacts, machine: Machine) -> int:
    """The batch for so many images: the largest that leaves enough steps to an epoch; never over the images."""
    largest = _BATCHES[0] if machine.gpus else _LARGEST_BATCH_ON_CPU
    fitting = (batch for batch in _BATCHES if batch <= largest and data.images // batch >= _LEAST_STEPS)
    return next(fitting, min(_BATCHES[-1], data.images))


def _ladder(data: DataFacts, weights: Weights, stated: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Architecture, image size and weights of each candidate, the best first."""
    sizes = [stated[SIZE]] if SIZE in stated else sizes_for(data)
    names = weights.names if WEIGHTS not in stated else {}
    default = stated.get(WEIGHTS, "none")
    if ARCH in stated:
        arch = stated[ARCH]
        entry = architecture(arch)
        if SIZE not in stated:
            fitting = [size for size in sizes if size >= entry.min_image_size] or [entry.min_image_size]
            sizes = [entry.image_size] if entry.fixed_image_size else _multiples(fitting, entry)
        return [(arch, size, names.get(arch, default)) for size in sizes]
    if names:
        return [(arch, size, names[arch]) for size in sizes for arch in CANDIDATE_ARCHITECTURES if arch in names]
    small = [("resnet18", size, default) for size in sizes] + [("mobilenet_v3_small", sizes[-1], default)]
    large = [("resnet50", size, default) for size in sizes if size >= _LEAST_OF_LARGE_PX]
    return [*large, *small] if data.images >= LARGE_SET else small


def _multiples(sizes: Sequence[int], entry: Architecture) -> list[int]:
    """The sizes that the architecture takes next below these, the largest first; its smallest, where there is none."""
    step = entry.image_size_step
    least = ceil(entry.min_image_size / step)
    return sorted({max(size // step, least) * step for size in sizes}, reverse=True)
