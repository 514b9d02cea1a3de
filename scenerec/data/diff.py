"""What two packed sets differ in: classes, counts, options and samples."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from scenerec.data.contents import read_contents
from scenerec.data.coordinates import Coordinates
from scenerec.data.manifest import Manifest, Shard
from scenerec.data.packed_set import PackedSet, Splits, open_splits
from scenerec.data.pool import Runner
from scenerec.errors import DataError

Value = TypeVar("Value")
_OPTIONS = ("layout", "seed", "short_side", "packed_by", "adopted_by")
"""What a manifest's `source` tells of how the set was packed."""


class SamplePlace(NamedTuple):
    """Where a sample is in a set."""

    split: str
    class_name: str
    shard: str
    key: str


@dataclass(frozen=True)
class SampleChange:
    """A sample that is not in both sets, or not alike."""

    kind: Literal["added", "removed", "moved", "changed", "relocated", "renamed"]
    """`moved`: the same image in another class or split; `changed`: another image of the same name, class and split;
    `relocated`: the same image in the same class and split, with other coordinates (which are not told); `renamed`: the
    same image under another name."""
    before: SamplePlace | None
    """Where it is in the first set; None if it was added."""
    after: SamplePlace | None
    """Where it is in the second set; None if it was removed."""

    @property
    def order(self) -> tuple[SamplePlace, ...]:
        """By this, changes are sorted for people."""
        return tuple(filter(None, (self.before, self.after)))


@dataclass(frozen=True)
class SplitDiff:
    """What the manifests of one split differ in; pairs are of the first and the second set."""

    fingerprints: tuple[str, str]
    samples: tuple[int, int]
    shards: tuple[int, int]
    unread_shards: int
    """Shards that are the same in both, so that none of them has to be read."""
    classes_added: tuple[str, ...]
    classes_removed: tuple[str, ...]
    classes_reordered: bool
    """Whether the classes of both sets come in another order."""
    class_counts: dict[str, tuple[int, int]]
    """Samples of each class of which there are not as many."""
    coordinates: tuple[int, int]
    """Samples of which it is known where they were taken."""
    places: tuple[str, ...]
    """Classes of which another thing is known beside their name."""
    options: dict[str, tuple[str, str]]
    """How the sets were packed, where that differs."""

    @property
    def same(self) -> bool:
        """Whether a run could not tell the sets from each other."""
        return self.fingerprints[0] == self.fingerprints[1] and not self.places


@dataclass(frozen=True)
class SetDiff:
    """What two sets, or folders of sets by split, differ in."""

    first: str
    second: str
    same: bool
    """Whether they hold the same samples in the same order, under the same classes."""
    splits: dict[str, SplitDiff]
    """By split; by the empty name where two sets were named themselves."""
    splits_added: tuple[str, ...]
    splits_removed: tuple[str, ...]
    samples: tuple[SampleChange, ...] | None
    """The samples that differ; None where no shard was read."""


def diff_sets(
    first: str,
    second: str,
    *,
    samples: bool = True,
    run: Runner | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SetDiff:
    """Compares the sets at two addresses, or the sets of their splits.

    Manifests are compared first; then, with `samples`, the shards that are not in both are read. Raises DataError where
    one is a set and the other a folder of splits, and for a damaged shard; StorageError.
    """
    before, after = open_splits(first), open_splits(second)
    if ("" in before) != ("" in after):
        folder = second if "" in before else first
        raise DataError(f"{folder}: is packed by split, and the other is not: name the set of one split")
    common = [split for split in before if split in after]
    splits = {split: diff_manifests(before[split].manifest, after[split].manifest) for split in common}
    added = tuple(split for split in after if split not in before)
    removed = tuple(split for split in before if split not in after)
    same = not added and not removed and all(split.same for split in splits.values())
    changes: tuple[SampleChange, ...] | None = () if same else None
    if samples and not same:
        changes = tuple(sorted(_diff_samples(before, after, run, on_progress), key=lambda each: each.order))
    return SetDiff(first, second, same, splits, added, removed, changes)


def diff_manifests(before: Manifest, after: Manifest) -> SplitDiff:
    """What two sets differ in as far as their manifests tell."""
    names = [dict.fromkeys(manifest.classes) for manifest in (before, after)]
    kept = [[name for name in names[0] if name in names[1]], [name for name in names[1] if name in names[0]]]
    counts = [_class_counts(manifest) for manifest in (before, after)]
    options = [{name: manifest.source.get(name, "") for name in _OPTIONS} for manifest in (before, after)]
    return SplitDiff(
        fingerprints=(before.fingerprint, after.fingerprint),
        samples=(before.samples, after.samples),
        shards=(len(before.shards), len(after.shards)),
        unread_shards=len(before.shards) - len(_unshared(before, after)),
        classes_added=tuple(name for name in names[1] if name not in names[0]),
        classes_removed=tuple(name for name in names[0] if name not in names[1]),
        classes_reordered=kept[0] != kept[1],
        class_counts=_pairs(counts[0], counts[1], 0),
        coordinates=(before.coordinates, after.coordinates),
        places=tuple(name for name in kept[0] if before.places.get(name) != after.places.get(name)),
        options=_pairs(options[0], options[1], ""),
    )


def diff_places(
    before: Mapping[bytes, list[SamplePlace]],
    after: Mapping[bytes, list[SamplePlace]],
    is_relocated: Callable[[SamplePlace, SamplePlace], bool] = lambda before, after: False,
) -> Iterator[SampleChange]:
    """What has become of samples, whose places in two sets are given by the digests of their images.

    An image that stands in a set several times is compared as often. What agrees best is taken for the same sample:
    split, class and name; then split and class; then the split; then the image alone. `is_relocated` says whether a
    sample has other coordinates in the second set.
    """
    removed: list[SamplePlace] = []
    added: list[SamplePlace] = []
    for digest in {**before, **after}:
        old, new = list(before.get(digest, ())), list(after.get(digest, ()))
        for alike in _AGREEMENTS if old and new else ():
            for pair in _matched(old, new, alike):
                if (kind := _kind(*pair, is_relocated(*pair))) is not None:
                    yield SampleChange(kind, *pair)
        removed += old
        added += new
    for pair in _matched(removed, added, _AGREEMENTS[0]):
        yield SampleChange("changed", *pair)
    yield from (SampleChange("removed", place, None) for place in removed)
    yield from (SampleChange("added", None, place) for place in added)


_AGREEMENTS: tuple[Callable[[SamplePlace], object], ...] = (
    lambda place: (place.split, place.class_name, place.key),
    lambda place: (place.split, place.class_name),
    lambda place: place.split,
    lambda place: None,
)


def _kind(
    before: SamplePlace, after: SamplePlace, is_relocated: bool
) -> Literal["moved", "relocated", "renamed"] | None:
    if before[:2] != after[:2]:
        return "moved"
    if is_relocated:
        return "relocated"
    return "renamed" if before.key != after.key else None


def _matched(
    old: list[SamplePlace], new: list[SamplePlace], alike: Callable[[SamplePlace], object]
) -> list[tuple[SamplePlace, SamplePlace]]:
    """Takes pairs that are alike out of both lists, and returns them."""
    waiting: dict[object, list[SamplePlace]] = defaultdict(list)
    for place in new:
        waiting[alike(place)].append(place)
    pairs, rest = [], []
    for place in old:
        if found := waiting[alike(place)]:
            pairs.append((place, found.pop()))
        else:
            rest.append(place)
    old[:] = rest
    new[:] = [place for left in waiting.values() for place in left]
    return pairs


def _diff_samples(
    before: Splits, after: Splits, run: Runner | None, on_progress: Callable[[int, int], None]
) -> Iterator[SampleChange]:
    """Reads the shards that are not the same in both, and compares their samples."""
    owners: dict[str, tuple[int, str, Manifest]] = {}
    shards: list[tuple[PackedSet, Shard]] = []
    for side, (mine, other) in enumerate(((before, after), (after, before))):
        for split, data in mine.items():
            owners[data.url] = (side, split, data.manifest)
            twin = other[split].manifest if split in other else None
            shards += [(data, shard) for shard in _unshared(data.manifest, twin)]
    places: list[dict[bytes, list[SamplePlace]]] = [defaultdict(list), defaultdict(list)]
    coordinates: list[dict[SamplePlace, Coordinates]] = [{}, {}]
    for content in read_contents(shards, run, on_progress):
        side, split, manifest = owners[content.url]
        for sample in content.samples:
            place = SamplePlace(split, manifest.labelling.named(sample.label), content.shard, sample.key)
            places[side][sample.digest].append(place)
            if sample.coordinates:
                coordinates[side][place] = sample.coordinates

    def is_relocated(old: SamplePlace, new: SamplePlace) -> bool:
        return coordinates[0].get(old) != coordinates[1].get(new)

    yield from diff_places(places[0], places[1], is_relocated)


def _unshared(manifest: Manifest, other: Manifest | None) -> list[Shard]:
    """The shards that the other set does not have under the same classes."""
    known = Counter(_identity(other, shard) for shard in other.shards) if other else Counter()
    unshared = []
    for shard in manifest.shards:
        identity = _identity(manifest, shard)
        if known[identity]:
            known[identity] -= 1
        else:
            unshared.append(shard)
    return unshared


def _identity(manifest: Manifest, shard: Shard) -> tuple[object, ...]:
    """What makes a shard the same in two sets: its bytes, what of them is read, and what its class indices mean."""
    names = ((label, manifest.classes[label]) for label in sorted(shard.class_counts))
    return (shard.sha256, shard.left_out, manifest.labels, *names)


def _class_counts(manifest: Manifest) -> dict[str, int]:
    return dict(zip(manifest.classes, manifest.class_counts.tolist(), strict=True))


def _pairs(before: Mapping[str, Value], after: Mapping[str, Value], missing: Value) -> dict[str, tuple[Value, Value]]:
    """What differs, by name: the values before and after."""
    pairs = {name: (before.get(name, missing), after.get(name, missing)) for name in {**before, **after}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
