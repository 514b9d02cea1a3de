"""The settings of a training for some data, a machine and so many minutes, and why. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from scenerec.config.recipe import RECIPES
from scenerec.errors import PlanError
from scenerec.training.choice.candidates import (
    ARCH,
    BATCH,
    EPOCHS,
    FRAMEWORK,
    LARGE_SET,
    LONG_EPOCHS,
    LR,
    OPTIMIZER,
    RECIPE,
    SIZE,
    WEIGHTS,
    WORKERS,
    Candidate,
    Weights,
    batch_for,
    candidates,
    first_that_fits,
    sizes_for,
)
from scenerec.training.choice.costs import START_S, training_cost
from scenerec.training.choice.facts import DataFacts, Machine

_LEAST_OF_WORKER = 4  # images of a batch
_MOST_WORKERS_ON_CPU = 4  # of a node: more exchange more than they gain
_WORKER_BYTES = 2 << 30
_MEMORY_SHARE = 0.4  # for activations
_GPU_MEMORY_BYTES = 10 << 30  # that any GPU has free
_OPTIMIZER = "adamw"
_LARGEST_LR = 0.004
_UNEVEN = 5.0


@dataclass(frozen=True)
class Decision:
    """Something that was chosen."""

    title: str
    """What, in a word or two."""
    settings: Mapping[str, Any]
    """Values by the config's keys, such as `optimize.lr`."""
    shown: str
    """The value, for people."""
    reason: str
    """Why, as a sentence without its full stop."""


@dataclass(frozen=True)
class Choice:
    """A training that was chosen."""

    decisions: tuple[Decision, ...]
    """In the order in which they are shown."""
    estimated_s: float
    """How long it is thought to take, from its submission on."""

    @property
    def settings(self) -> dict[str, Any]:
        """All values by their keys."""
        return {key: value for decision in self.decisions for key, value in decision.settings.items()}


def choose(
    data: DataFacts, machine: Machine, minutes: float, weights: Weights, stated: Mapping[str, Any] | None = None
) -> Choice:
    """Chooses what trains on `data` within so many minutes; what somebody has stated, by its key, stays as it is.

    Raises PlanError where the minutes do not suffice for an epoch of the cheapest network, or an optimizer is stated
    whose learning rate is not chosen.
    """
    stated = stated or {}
    found = candidates(data, machine, weights, stated)
    taken, epochs = first_that_fits(found, minutes, data, machine, stated)
    workers, cpus_per_worker = _workers(data, machine, stated)
    batch = _batch(taken, data, machine, workers, stated)
    decisions = (
        _network(taken, data, found),
        _size(taken, data, found),
        Decision("weights", {WEIGHTS: taken.weights}, taken.weights, weights.reason),
        _epochs(taken, epochs, machine, minutes, has_recipe=stated.get(RECIPE) is not None),
        Decision("batch", {BATCH: batch}, str(batch), f"{max(data.images // batch, 1):,} steps in an epoch"),
        *_recipe(taken, batch, epochs, data, stated),
        *_balance(data),
        _scale(machine, workers, cpus_per_worker),
    )
    estimated_s = START_S[stated.get(FRAMEWORK, "torch")] + epochs * taken.epoch_s
    return Choice(tuple(_as_stated(each, stated) for each in decisions), estimated_s)


def _as_stated(decision: Decision, stated: Mapping[str, Any]) -> Decision:
    """The decision with the values that somebody has stated. That of a recipe is nobody else's, and says what it is."""
    said = {key: value for key, value in stated.items() if key in decision.settings and key != RECIPE}
    if not said:
        return decision
    first = next(iter(decision.settings))
    shown, reason = (str(said[first]), "as you said") if first in said else (decision.shown, decision.reason)
    return Decision(decision.title, {**decision.settings, **said}, shown, reason)


def _network(taken: Candidate, data: DataFacts, found: Sequence[Candidate]) -> Decision:
    better = [each for each in found[: found.index(taken)] if each.arch != taken.arch]
    if better:
        reason = f"with a larger one each image would be seen fewer than {better[-1].wanted_epochs} times"
    elif taken.is_tuned:
        reason = "the best of those whose weights are known, and fast enough"
    elif data.images >= LARGE_SET:
        reason = f"{data.images:,} images are enough for a large one"
    else:
        reason = f"a larger one would learn {data.images:,} images by heart"
    return Decision("network", {ARCH: taken.arch}, taken.arch, reason)


def _size(taken: Candidate, data: DataFacts, found: Sequence[Candidate]) -> Decision:
    size = taken.image_size
    larger = [each for each in found[: found.index(taken)] if each.image_size > size and each.arch == taken.arch]
    reason = f"half of the images have {data.short_side} px or more on their short side"
    if larger:
        reason = f"with more pixels each image would be seen fewer than {larger[-1].wanted_epochs} times"
    elif size < max(sizes_for(data)):
        reason = "so small that it is learned within the minutes"
    return Decision("image size", {SIZE: size}, f"{size} px", reason)


def _epochs(taken: Candidate, epochs: int, machine: Machine, minutes: float, has_recipe: bool) -> Decision:
    why = "more would help little" if epochs >= taken.most_epochs else f"as many as fit into {minutes:g} min"
    settings: dict[str, Any] = {EPOCHS: epochs}
    if not has_recipe:
        settings["optimize.warmup_epochs"] = min(round(epochs / 10, 1), 5.0) if epochs > 1 else 0.0
    return Decision("epochs", settings, str(epochs), f"of {taken.epoch_s:.2g} s on {machine.words}: {why}")


def _recipe(taken: Candidate, batch: int, epochs: int, data: DataFacts, stated: Mapping[str, Any]) -> list[Decision]:
    """How it is learned: by a recipe that somebody has stated, or by what suits the data."""
    recipe = stated.get(RECIPE)
    if recipe is None:
        optimizer = stated.get(OPTIMIZER, _OPTIMIZER)
        rate = _learning_rate(taken, batch) if optimizer == _OPTIMIZER else _stated_rate(optimizer, stated)
        return [rate, _augmentation(taken, epochs, data)]
    reason = f"its optimizer, learning rate and augmentation; it has reached {RECIPES[recipe].reached}"
    return [Decision("recipe", {RECIPE: recipe}, recipe, reason)]


def _stated_rate(optimizer: str, stated: Mapping[str, Any]) -> Decision:
    """What is stated of an optimizer whose learning rate is not chosen; of AdamW's decay nothing is taken over."""
    if LR not in stated:
        raise PlanError(
            f"{OPTIMIZER}: the learning rate that is chosen is {_OPTIMIZER}'s, and {optimizer} wants another: say it "
            f"too (--set {LR}=NUMBER), or leave {OPTIMIZER} out"
        )
    return Decision("learning rate", {LR: stated[LR], OPTIMIZER: optimizer}, f"{stated[LR]:g}", "as you said")


def _learning_rate(taken: Candidate, batch: int) -> Decision:
    """AdamW's, by the square root of the batch (Malladi et al., On the SDEs and scaling rules for Adam..., 2022)."""
    lr = float(f"{min((0.0003 if taken.is_tuned else 0.002) * sqrt(batch / 32), _LARGEST_LR):.2g}")
    settings = {LR: lr, OPTIMIZER: _OPTIMIZER, "optimize.weight_decay": 0.05}
    reason = "low, to keep what the weights know" if taken.is_tuned else "of AdamW, for this batch and random weights"
    return Decision("learning rate", settings, f"{lr:g}", reason)


def _augmentation(taken: Candidate, epochs: int, data: DataFacts) -> Decision:
    smallest = 0.08 if data.images >= LARGE_SET else 0.35
    settings: dict[str, Any] = {"data.augment.crop_scale": [smallest, 1.0]}
    shown, reason = f"crops from {smallest:.0%}", "a part of a scene still shows it, and so does its mirror image"
    if epochs >= LONG_EPOCHS and data.images < LARGE_SET:
        settings["data.augment.color_jitter"] = 0.2
        shown, reason = f"{shown}, colours", "few images, seen often: each time in another crop and light"
    if epochs >= LONG_EPOCHS and not taken.is_tuned:
        settings["optimize.label_smoothing"] = 0.1
    return Decision("augmentation", settings, shown, reason)


def _balance(data: DataFacts) -> list[Decision]:
    if data.imbalance < _UNEVEN:
        return []
    reason = f"the largest class has {data.imbalance:.0f} times the images of the smallest, which is shown more often"
    return [Decision("balance", {"data.balance": 0.5}, "0.5", reason)]


def _scale(machine: Machine, workers: int, cpus_per_worker: int) -> Decision:
    settings: dict[str, Any] = {WORKERS: workers, "scale.cpus_per_worker": cpus_per_worker}
    if machine.gpus:
        settings |= {"scale.gpus_per_worker": 1, "optimize.precision": "bf16"}
    of_each = f"{cpus_per_worker} core{'s' if cpus_per_worker > 1 else ''} each"
    return Decision("workers", settings, str(workers), f"{of_each}, of {machine.words}")


def _workers(data: DataFacts, machine: Machine, stated: Mapping[str, Any]) -> tuple[int, int]:
    """Number of workers, and cores of each: a power of two, so that it divides a batch."""
    if isinstance(stated.get(WORKERS), int):
        workers = int(stated[WORKERS])
    else:
        of_node = machine.gpus or min(machine.cpus, _MOST_WORKERS_ON_CPU)
        if machine.memory_bytes is not None and not machine.gpus:
            of_node = min(of_node, machine.memory_bytes // _WORKER_BYTES)
        batch = stated.get(BATCH, batch_for(data, machine))
        most = max(min(machine.nodes * of_node, batch // _LEAST_OF_WORKER), 1)
        workers = 1 << most.bit_length() - 1
        while batch % workers:
            workers //= 2
    return workers, max(machine.cpus // ceil(workers / machine.nodes), 1)


def _batch(taken: Candidate, data: DataFacts, machine: Machine, workers: int, stated: Mapping[str, Any]) -> int:
    """The batch, halved as long as memory cannot hold what it keeps for its backward passes."""
    if BATCH in stated:
        return int(stated[BATCH])
    batch = batch_for(data, machine)
    held_bytes = 1e6 * training_cost(taken.arch, taken.image_size).held_mb
    if machine.gpus:
        room = float(_GPU_MEMORY_BYTES * machine.gpus * machine.nodes)
    else:
        room = _MEMORY_SHARE * machine.memory_bytes * machine.nodes if machine.memory_bytes else float("inf")
    while batch * held_bytes > room and batch >= 2 * _LEAST_OF_WORKER * workers:
        batch //= 2
    return batch
