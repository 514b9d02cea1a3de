"""Several packed sets that are trained on as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import override

from scenerec.config.data import InputConfig
from scenerec.data.manifest import Manifest
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.shard import Sample
from scenerec.errors import DataError
from scenerec.names import clean, same_names
from scenerec.storage import IMPATIENT, Patience


@dataclass(frozen=True)
class MixedSet(PackedSet):
    """Sets of the same classes, whose shards are laid one after another. Made by `mix`."""

    mixed: tuple[tuple[PackedSet, float], ...] = ()

    @property
    @override
    def parts(self) -> Sequence[tuple[PackedSet, float]]:
        """The sets, one after another, and their weights."""
        return self.mixed

    @override
    def shard_url(self, shard_index: int) -> str:
        part, index = self._find(shard_index)
        return part.shard_url(index)

    @override
    def read(self, shard_index: int) -> list[Sample]:
        part, index = self._find(shard_index)
        return part.read(index)

    def _find(self, shard_index: int) -> tuple[PackedSet, int]:
        ends = np.cumsum([len(part.manifest.shards) for part, _ in self.mixed])
        number = int(np.searchsorted(ends, shard_index, side="right"))
        part = self.mixed[number][0]
        return part, shard_index - int(ends[number]) + len(part.manifest.shards)


def open_training_set(config: InputConfig, patience: Patience = IMPATIENT) -> PackedSet:
    """The set that `data.train` names, or the mixture of those that it lists. Raises DataError, StorageError."""
    sets = [(open_set(each.set, config.train_share, config.cache, patience), each.weight) for each in config.train_sets]
    return sets[0][0] if len(sets) == 1 else mix(sets)


def mix(sets: Sequence[tuple[PackedSet, float]]) -> MixedSet:
    """Sets with their weights as one. Raises DataError unless all have the same classes."""
    first = sets[0][0]
    for other, _ in sets[1:]:
        ours, theirs = first.manifest.classes, other.manifest.classes
        if not same_names(ours, theirs):
            odd = sorted(set(map(clean, ours)) ^ set(map(clean, theirs)))
            what = f"{odd[0]!r} is in one of them only" if odd else "the order differs"
            raise DataError(
                f"data.train: the classes of {other.url} are not those of {first.url} ({what}): pack both from the "
                "same class list"
            )
    if multilabel := next((part.url for part, _ in sets if part.manifest.is_multilabel), None):
        raise DataError(f"data.train: {multilabel} has several labels an image, and such a set is trained on alone")
    shards = tuple(shard for part, _ in sets for shard in part.manifest.shards)
    manifest = Manifest.model_validate({**dict(first.manifest), "shards": shards})
    mixed = tuple((replace(part, fetched=first.fetched), weight) for part, weight in sets)
    return MixedSet(first.storage, manifest, first.url, fetched=first.fetched, mixed=mixed)
