"""Adds images to packed sets: new shards behind the old ones, which nobody touches.

What is added gets shards `000012-1a2b3c4d.tar`, numbered on and marked by the plan, so that two that add at once never
write the same object. The manifest is replaced last, and only if it is still the one that was read: a set is what it
was, or has all that was added.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scenerec.data.contents import read_contents
from scenerec.data.manifest import (
    MANIFEST_KEY,
    Manifest,
    Shard,
    is_adopted,
    read_manifest,
    read_versioned_manifest,
    replace_manifest,
)
from scenerec.data.packed_set import PackedSet, Splits, open_set, open_splits
from scenerec.data.packing.choices import SourceRequest
from scenerec.data.packing.known_images import Twin, write_known
from scenerec.data.packing.layouts import read_source
from scenerec.data.packing.pack import SHARD_KEY, Progress, count_records, make_plans, require_located
from scenerec.data.packing.pack_plan import PackOptions, PackPlan
from scenerec.data.packing.places import read_places
from scenerec.data.packing.raw_set import Problem, RawSet
from scenerec.data.packing.shard_writer import ShardRecord, ShardTask, pack_shard
from scenerec.data.packing.summary import summary
from scenerec.data.packing.survey import Survey, survey
from scenerec.data.pool import Runner, process_runner
from scenerec.data.splits import SPLITS
from scenerec.errors import DataError
from scenerec.names import printable
from scenerec.storage import Storage, open_storage
from scenerec.storage.writable import check_writable

_MARK_DIGITS = 8
_ADDITIONS = "additions"
"""Of a manifest's `source`: how often images were added."""
_KEYS_OF_AN_ADDITION = 10**8
"""Room for the numbers with which samples' keys begin: those of one addition, and of the pack before, are apart."""
_CONDITION_PROBE = ".adding"


class AddRequest(SourceRequest):
    """What to add, and to which packed set, or folder of its splits."""

    partial: bool = True
    new_classes: bool = False
    """Take classes that the set does not have, behind those that it has."""
    duplicates: bool = False
    """Add images that the set has already as well: then no set is read."""
    options: PackOptions = PackOptions()
    """What the bytes depend on; the short side is that of the set."""


@dataclass(frozen=True)
class AddResult:
    """What was added to one set."""

    split: str
    url: str
    added: int
    """Images that were added."""
    coordinates: int
    """Of these, those of which it is known where they were taken."""
    shards: int
    """Shards that were added."""
    samples: int
    """Images of the set now."""
    classes: int
    """Classes of the set now."""
    new_classes: tuple[str, ...]
    empty_classes: tuple[str, ...]
    """Classes of which the set has no image."""
    problems: dict[str, int]
    """Number of problems of each kind; those of `scenerec.data.packing.raw_set.PACKED_ALL_THE_SAME` were added."""
    problems_key: str
    """The object in the set that lists the problems; empty where there are none."""
    added_before: bool
    """The same images were added by an earlier call, and nothing was done."""


class Addition:
    """Images on their way into the sets of one folder: looked at, compared with what is there, and packed."""

    def __init__(self, request: AddRequest, say: Callable[[str], None] = lambda line: None) -> None:
        """Looks at source and sets; `say` is told what was understood of the source, line by line.

        Raises DataError for a malformed source, and for a class or split that the sets do not have; StorageError where
        they cannot be changed.
        """
        sets = open_splits(request.destination)
        if adopted := [data.url for data in sets.values() if is_adopted(data.manifest)]:
            raise DataError(f"{adopted[0]}: holds shards that somebody else wrote: adopt it again with more shards")
        raw = read_source(request)
        targets = _targets(request, raw, sets)
        surveys = survey(replace(raw, classes=()))  # none of which must be there
        if request.options.coordinates_from_exif:
            require_located(raw.root, surveys)
        for line in summary(raw, surveys):
            say(line)
        parts = [_Part(request, raw, split, surveys.get(split), data) for split, data in targets.items()]
        self.parts = {part.data.url: part for part in parts}
        self._siblings = _siblings(sets)

    def read_known(self, run: Runner | None = None, on_progress: Progress = lambda done, total: None) -> None:
        """Reads the sets, so that images that are there already are left out, and the sets of the other splits.

        What is added and stands in another split is listed. Raises DataError, StorageError.
        """
        growing = [part for part in self.parts.values() if part.open_tasks]
        splits = {data.url: split for split, data in self._siblings.items()}
        sets = {data.url: data for data in (*self._siblings.values(), *(part.data for part in growing))}
        shards = [(data, shard) for data in sets.values() for shard in data.manifest.shards] if growing else []
        for content in read_contents(shards, run, on_progress):
            labels = {sample.label for sample in content.samples}
            names = {label: sets[content.url].manifest.labelling.named(label) for label in labels}
            own = {label: Twin("duplicate", f"is in the set already, as {name}") for label, name in names.items()}
            others = {
                label: Twin("leaked", f"is in {splits.get(content.url)} too, as {name}")
                for label, name in names.items()
            }
            for part in growing:
                known, twins = (part.own, own) if part.data.url == content.url else (part.elsewhere, others)
                known.update((sample.digest, twins[sample.label]) for sample in content.samples)

    def pack(
        self, run: Runner | None = None, on_progress: Progress = lambda done, total: None
    ) -> tuple[AddResult, ...]:
        """Packs the images, then replaces the manifests. What was interrupted is continued by the next addition.

        Raises DataError where a set was changed meanwhile, StorageError.
        """
        for part in self.parts.values():
            part.write_known()
        tasks = [task for part in self.parts.values() for task in part.open_tasks]
        done, total = 0, sum(len(task.images) for task in tasks)
        on_progress(done, total)
        for url, number, record in (run or process_runner(1))(pack_shard, tasks):
            part = self.parts[url]
            part.records[number] = record
            done += len(part.tasks[number].images)
            on_progress(done, total)
        return tuple(part.finish() for part in self.parts.values())


def _targets(request: AddRequest, raw: RawSet, sets: Splits) -> dict[str, PackedSet]:
    """The set of each split: of those that the source has, and where classes are new, of all."""
    if "" in sets:
        if len(raw.splits) > 1:
            found = " and ".join(raw.splits)
            raise DataError(
                f"{request.source}: has {found}, and {request.destination} is one set: choose --split, or name the "
                "folder of all splits"
            )
        return dict.fromkeys(raw.splits, sets[""])
    if missing := [split for split in raw.splits if split not in sets]:
        raise DataError(
            f"{request.destination}: has no set {missing[0]}: choose --split ({', '.join(sets)}), or pack it"
        )
    return {split: data for split, data in sets.items() if split in raw.splits or request.new_classes}


def _siblings(sets: Splits) -> Splits:
    """The sets of all splits of a folder; of a single set, those that lie beside it under the name of a split."""
    if "" not in sets:
        return sets
    folder, _, name = sets[""].url.rpartition("/")
    if name not in SPLITS:
        return {}
    there = [split for split in SPLITS if open_storage(f"{folder}/{split}").size(MANIFEST_KEY) is not None]
    return {split: open_set(f"{folder}/{split}") for split in there if split != name}


class _Part:
    """One set, and what is added to it."""

    def __init__(self, request: AddRequest, raw: RawSet, split: str, found: Survey | None, data: PackedSet) -> None:
        self.split, self.storage = split, data.storage
        manifest, self.version = read_versioned_manifest(self.storage)
        self.manifest, self.data = manifest, replace(data, manifest=manifest)
        self.classes = _extended(request, raw, self.data)
        check_writable(self.storage.url)
        _check_conditions(self.storage)
        raw = replace(raw, classes=self.classes)
        self.places = {**read_places(raw), **manifest.places}
        short_side = manifest.source.get("short_side", "unchanged")
        options = replace(request.options, short_side=int(short_side) if short_side.isdecimal() else None)
        [(plan, self.problems)] = make_plans(raw, {split: found or Survey((), ())}, options)
        self.mark = f"-{plan.fingerprint[:_MARK_DIGITS]}"
        self.own: dict[bytes, Twin] = {}
        self.elsewhere: dict[bytes, Twin] = {}
        self.added_before = any(self.mark in shard.key for shard in manifest.shards)
        self.tasks = {} if self.added_before else self._tasks(plan, raw.root.absolute())
        self.records = self._earlier_records()

    def _tasks(self, plan: PackPlan, root: Path) -> dict[int, ShardTask]:
        """The shards to be packed by their numbers, which go on behind those of the set."""
        numbers = [int(shard.key[:6]) for shard in self.manifest.shards if SHARD_KEY.fullmatch(shard.key)]
        first_key = (int(self.manifest.source.get(_ADDITIONS, 0)) + 1) * _KEYS_OF_AN_ADDITION
        tasks = {}
        for number, images in enumerate(plan.shards, start=max(numbers, default=-1) + 1):
            images = tuple(replace(image, index=first_key + image.index) for image in images)
            tasks[number] = ShardTask(number, images, root, self.storage.url, plan.options, plan.fingerprint, self.mark)
        return tasks

    def _earlier_records(self) -> dict[int, ShardRecord]:
        """Those of an addition of the same that was interrupted."""
        kept = {info.key for info in self.storage.list(".pack/")}
        return {
            number: ShardRecord.model_validate_json(self.storage.get(task.record_key))
            for number, task in self.tasks.items()
            if task.record_key in kept
        }

    @property
    def open_tasks(self) -> list[ShardTask]:
        """The shards that are still to be packed."""
        return [task for number, task in self.tasks.items() if number not in self.records]

    def write_known(self) -> None:
        """Writes what the tasks are to look their images up in."""
        known = {**self.elsewhere, **self.own}
        if known and self.open_tasks:
            key = write_known(self.storage, f".pack/known{self.mark}", known)
            self.tasks = {number: replace(task, known=key) for number, task in self.tasks.items()}

    def finish(self) -> AddResult:
        """Replaces the manifest by one with what was added, and tidies up."""
        records = [self.records[number] for number in sorted(self.records)]
        problems = [*self.problems, *(problem for record in records for problem in record.problems)]
        shards = tuple(record.shard for record in records if record.shard)
        manifest = self.manifest
        problems_key = f"problems{self.mark}.jsonl" if problems and not self.added_before else ""
        if problems_key:
            lines = "".join(f"{problem.model_dump_json()}\n" for problem in problems)
            self.storage.put(problems_key, lines.encode())
        if shards or (self.classes != manifest.classes and not self.added_before):
            manifest = self._extended_manifest(shards, records, problems)
            if not replace_manifest(self.storage, manifest, self.version):
                manifest = self._foreign_manifest()
        if not self.added_before:
            self._clear({problems_key, *(shard.key for shard in manifest.shards)})
        counts = manifest.class_counts
        return AddResult(
            split=self.split,
            url=self.storage.url,
            added=sum(shard.samples for shard in shards),
            coordinates=sum(shard.coordinates for shard in shards),
            shards=len(shards),
            samples=manifest.samples,
            classes=len(manifest.classes),
            new_classes=manifest.classes[len(self.manifest.classes) :],
            empty_classes=tuple(name for name, count in zip(manifest.classes, counts, strict=True) if not count),
            problems={} if self.added_before else dict(Counter(problem.kind for problem in problems)),
            problems_key=problems_key,
            added_before=self.added_before,
        )

    def _extended_manifest(
        self, shards: Sequence[Shard], records: Sequence[ShardRecord], problems: Sequence[Problem]
    ) -> Manifest:
        source, counts = self.manifest.source, {_ADDITIONS: 1, **count_records(records, problems)}
        changed = {
            "classes": self.classes,
            "shards": (*self.manifest.shards, *shards),
            "places": self.places,
            "source": {**source, **{name: str(int(source.get(name, 0)) + count) for name, count in counts.items()}},
        }
        return Manifest.model_validate({**dict(self.manifest), **changed})

    def _foreign_manifest(self) -> Manifest:
        """The manifest that somebody else has written meanwhile, if it has what is added here."""
        manifest = read_manifest(self.storage)
        if any(self.mark in shard.key for shard in manifest.shards):
            return manifest
        self._clear(set())
        raise DataError(
            f"{self.storage.url}: was changed while images were added to it, and is as that has left it: "
            "the same command again adds them"
        )

    def _clear(self, kept: Collection[str]) -> None:
        """Deletes what this addition, or an earlier attempt at it, has written, but for what is kept."""
        for key in [info.key for info in self.storage.list() if self.mark in info.key]:
            if key not in kept:
                self.storage.delete(key)


def _extended(request: AddRequest, raw: RawSet, data: PackedSet) -> tuple[str, ...]:
    """The classes of a set with those that are new behind them."""
    known = data.manifest.classes
    if raw.is_multilabel != data.manifest.is_multilabel:
        ours, theirs = ("several labels", "one") if raw.is_multilabel else ("one label", "several")
        raise DataError(f"{request.source}: has {ours} an image, and {data.url} {theirs}: pack it as another set")
    new = sorted({name for images in raw.splits.values() for image in images for name in image.names} - set(known))
    if new and not request.new_classes:
        more = f" (nor are {len(new) - 1} others)" if len(new) > 1 else ""
        raise DataError(
            f"{request.source}: class `{printable(new[0])}` is not in {data.url}{more}: "
            "correct its name, or add it with --new-classes"
        )
    return (*known, *new)


def _check_conditions(storage: Storage) -> None:
    """Raises StorageError, before any work, where a manifest cannot be replaced safely."""
    storage.put_if(_CONDITION_PROBE, b"", None)
    storage.delete(_CONDITION_PROBE)
