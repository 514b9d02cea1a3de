"""Packs a raw data set into shards and a manifest: planned first, resumable, the same bytes each time.

Layout of a destination: `000000.tar` ..., `problems.jsonl` if there are any, and `manifest.json`, written last. While
the work is under way `.pack/` holds the plan's fingerprint and a record of each finished shard.
"""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import scenerec
from scenerec.data.exif import exif_coordinates
from scenerec.data.labels import OWN_MULTI_RULE, OWN_RULE
from scenerec.data.manifest import MANIFEST_KEY, Manifest, Place, is_adopted, read_manifest, write_manifest
from scenerec.data.packing.choices import SourceRequest
from scenerec.data.packing.formats import open_source
from scenerec.data.packing.intake import pack_image
from scenerec.data.packing.layouts import read_source
from scenerec.data.packing.pack_plan import PackOptions, PackPlan, plan_split
from scenerec.data.packing.places import read_places
from scenerec.data.packing.raw_set import Problem, RawImage, RawSet
from scenerec.data.packing.shard_writer import ShardRecord, ShardTask, pack_shard
from scenerec.data.packing.summary import contradictions, described, summary
from scenerec.data.packing.survey import Survey, survey
from scenerec.data.picture import PictureError
from scenerec.data.pool import Runner, process_runner
from scenerec.errors import DataError
from scenerec.storage import Storage, open_storage
from scenerec.storage.writable import check_writable

PLAN_KEY = ".pack/plan.json"
PROBLEMS_KEY = "problems.jsonl"
SHARD_KEY = re.compile(r"\d{6}(-[0-9a-f]{8})?\.tar")
OWN_KEYS = re.compile(
    rf"{SHARD_KEY.pattern}|\.\d{{6}}(-[0-9a-f]{{8}})?\.tar\..*|\.pack/.*|problems(-[0-9a-f]{{8}})?\.jsonl|manifest\.json"
)
"""What packing writes, and adding to a set; among it the parts of shards whose writer was killed."""
_PROBLEMS, _CONVERTED = "problems_", "converted_"  # before the kinds and formats in a manifest's source
FOREIGN = "holds shards that somebody else wrote"
"""The obstacle that `overwrite` does not remove."""
PROBED_IMAGES = 200
"""Images that are shrunk beforehand to learn how large shrunk images are."""

Progress = Callable[[int, int], None]
"""Called with the images done and the images of the whole task."""


class PackRequest(SourceRequest):
    """What to pack, where to, and how."""

    strict: bool = False
    """Refuse a picture that stands under two labels, or in train and in another split."""
    options: PackOptions = PackOptions()
    """What the bytes depend on."""
    overwrite: bool = False
    """Replace what an earlier pack left at the destination."""


@dataclass(frozen=True)
class PackResult:
    """What was packed, and how fast."""

    splits: "tuple[SplitResult, ...]"
    seconds: float
    images_per_s: float
    """Speed of what this run packed; an earlier run's shards do not count."""


@dataclass(frozen=True)
class SplitResult:
    """What was packed of one split."""

    split: str
    url: str
    samples: int
    shards: int
    size_bytes: int
    classes: int
    places: int
    """Classes of which more is known than their name."""
    converted: int
    """Images that were re-encoded because of their format, pixel format or orientation."""
    converted_formats: dict[str, int]
    """Of these, how many came in each format."""
    resized: int
    stripped: int
    """Images of which metadata was taken out, and the pixels left as they were coded."""
    coordinates: int
    """Images of which it is known where they were taken."""
    problems: dict[str, int]
    """Number of problems of each kind; `leaked` images are packed all the same."""
    resumed_shards: int
    """Shards that an earlier, interrupted run had finished."""
    complete_before: bool
    """The very same set was there already, and no image was packed."""
    empty_classes: tuple[str, ...]
    """Classes of which no image could be decoded."""


def pack(
    request: PackRequest,
    run: Runner | None = None,
    on_progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> PackResult:
    """Packs each split of a source: one goes to the destination itself, several to DESTINATION/SPLIT.

    `say` is told what was understood of the source, line by line, before any work.

    A run that is interrupted is continued by the next with the same request. `run` says where the shards are packed:
    in this process, unless told otherwise. Raises StorageError and, before any work, DataError for a source that is
    malformed, for a class without images and for a destination that holds something else (unless `overwrite`).
    """
    began_s = time.monotonic()
    raw = read_source(request)
    check_writable(request.destination)
    places = read_places(raw)
    surveys = survey(raw)
    for line in summary(raw, surveys):
        say(line)
    for line in contradictions(surveys):
        say(f"  warning: {line}")
    if request.strict:
        _refuse_contradictions(surveys)
    if request.options.coordinates_from_exif:
        require_located(raw.root, surveys)
    root, plans = raw.root.absolute(), make_plans(raw, surveys, request.options)
    del raw, surveys  # of millions of files they are more than the plans
    works: dict[str, _SplitWork] = {}
    for plan, problems in plans:
        url = f"{request.destination.rstrip('/')}/{plan.split}" if len(plans) > 1 else request.destination
        storage = open_storage(url)
        works[storage.url] = _SplitWork(root, storage, plan, problems, places)
    for work in works.values():
        work.look(request.overwrite)
    for work in works.values():
        work.begin()
    total = sum(work.plan.images for work in works.values())
    done = done_before = sum(work.done_images for work in works.values())
    on_progress(done, total)
    tasks = [task for work in works.values() for task in work.open_tasks]
    for url, number, record in (run or process_runner(1))(pack_shard, tasks):
        done += works[url].add(number, record)
        on_progress(done, total)
    splits = [work.finish() for work in works.values()]
    seconds = time.monotonic() - began_s
    return PackResult(tuple(splits), round(seconds, 3), round((done - done_before) / seconds, 1))


def count_records(records: Iterable[ShardRecord], problems: Iterable[Problem]) -> dict[str, int]:
    """What a manifest's source tells of the images of some shards, in numbers, and of the problems with them."""
    did, formats = Counter(converted=0, resized=0, stripped=0), Counter[str]()
    for record in records:
        did.update(converted=record.converted, resized=record.resized, stripped=record.stripped)
        formats.update(record.converted_formats)
    kinds = Counter(problem.kind for problem in problems)
    return {
        **did,
        **{f"{_CONVERTED}{name}": formats[name] for name in sorted(formats)},
        **{f"{_PROBLEMS}{kind}": count for kind, count in kinds.items()},
    }


def _refuse_contradictions(surveys: Mapping[str, Survey]) -> None:
    kinds = {"conflict": "under two labels", "leaked": "in train and in another split"}
    for kind, what in kinds.items():
        if found := [problem for each in surveys.values() for problem in each.problems if problem.kind == kind]:
            raise DataError(
                f"{len(found)} pictures stand {what}, such as {described(found[0])}: "
                "remove one of each, or leave --strict out"
            )


def require_located(root: Path, surveys: Mapping[str, Survey]) -> None:
    """Raises DataError unless the coordinates of some image are known, from a list or from its EXIF.

    Files are read until one has some.
    """
    images = [image for found in surveys.values() for image, _ in found.images]
    if not any(image.coordinates or _has_exif_coordinates(root / image.path) for image in images):
        raise DataError(
            f"{root}: none of the {len(images)} images has a place in its EXIF: leave --coordinates-from-exif out, or "
            "give their coordinates with --coordinates"
        )


def make_plans(
    raw: RawSet, surveys: Mapping[str, Survey], options: PackOptions
) -> list[tuple[PackPlan, tuple[Problem, ...]]]:
    """The plan of each split, and what is already known not to be packed."""
    images = [image for found in surveys.values() for image in found.images]
    share = _encoded_share(raw.root, images, options) if options.short_side else 1.0
    return [
        (plan_split(split, raw.layout, raw.classes, found.images, options, share), found.problems)
        for split, found in surveys.items()
    ]


class _SplitWork:
    """One split on its way to its storage."""

    def __init__(
        self, root: Path, storage: Storage, plan: PackPlan, problems: Sequence[Problem], places: Mapping[str, Place]
    ) -> None:
        self.storage = storage
        self.plan = plan
        self.problems = problems
        self.places = dict(places)
        self.tasks = [
            ShardTask(number, images, root, storage.url, plan.options, plan.fingerprint)
            for number, images in enumerate(plan.shards)
        ]
        self.records: dict[int, ShardRecord] = {}
        self.resumed_shards = 0
        self.complete: Manifest | None = None
        self.objects: dict[str, int] = {}
        self.replace = False

    @property
    def done_images(self) -> int:
        """Images of the shards that need no work any more."""
        return self.plan.images if self.complete else sum(len(self.plan.shards[n]) for n in self.records)

    def look(self, overwrite: bool) -> None:
        """Finds what is at the destination. Raises DataError where that is something else."""
        self.objects = {info.key: info.size_bytes for info in self.storage.list()}
        obstacle = self._obstacle(self.objects)
        if obstacle == FOREIGN:
            raise DataError(f"{self.storage.url}: {FOREIGN}: choose another folder")
        if obstacle and not overwrite:
            raise DataError(f"{self.storage.url}: {obstacle}: choose another folder, or --overwrite")
        self.replace = overwrite and (obstacle is not None or MANIFEST_KEY in self.objects)

    def begin(self) -> None:
        """Clears what is to be replaced, and takes over what an earlier run has done."""
        objects = self.objects
        if self.replace:
            self._clear(objects)
            objects = {}
        elif MANIFEST_KEY in objects:
            self.complete = read_manifest(self.storage)
            return
        self.storage.put(PLAN_KEY, self.plan.fingerprint.encode())
        for task in self.tasks:
            if task.record_key in objects:
                record = ShardRecord.model_validate_json(self.storage.get(task.record_key))
                if record.shard is None or objects.get(task.key) == record.shard.size_bytes:
                    self.records[task.number] = record
        self.resumed_shards = len(self.records)

    @property
    def open_tasks(self) -> list[ShardTask]:
        """The shards that are still to be packed."""
        return [] if self.complete else [task for task in self.tasks if task.number not in self.records]

    def add(self, number: int, record: ShardRecord) -> int:
        """Takes note of a shard that is finished; returns the number of images that were planned for it."""
        self.records[number] = record
        return len(self.plan.shards[number])

    def finish(self) -> SplitResult:
        """Joins the records into problems.jsonl and the manifest, and tidies up."""
        if self.complete:
            self._clear([info.key for info in self.storage.list(".pack/")])
            if self.complete.places != self.places:  # no shard depends on them, so none is packed again
                self.complete = self.complete.model_copy(update={"places": self.places})
                write_manifest(self.storage, self.complete)
            return self._result(self.complete)
        records = [self.records[number] for number in sorted(self.records)]
        problems = [*self.problems, *(problem for record in records for problem in record.problems)]
        if problems:
            self.storage.put(PROBLEMS_KEY, "".join(f"{problem.model_dump_json()}\n" for problem in problems).encode())
        shards = tuple(record.shard for record in records if record.shard)
        if not shards:
            raise DataError(f"{self.storage.url}: no image could be packed: {PROBLEMS_KEY} there says why of each")
        options = self.plan.options
        source = {
            "split": self.plan.split,
            "layout": self.plan.layout,
            "seed": str(options.seed),
            "short_side": str(options.short_side or "unchanged"),
            "plan": self.plan.fingerprint,
            "packed_by": f"scenerec {scenerec.__version__}",
            **{name: str(count) for name, count in count_records(records, problems).items()},
        }
        rule = OWN_MULTI_RULE if self.plan.is_multilabel else OWN_RULE
        manifest = Manifest(classes=self.plan.classes, shards=shards, places=self.places, source=source, labels=rule)
        write_manifest(self.storage, manifest)
        kept = {shard.key for shard in shards} | {PROBLEMS_KEY, MANIFEST_KEY}
        self._clear([info.key for info in self.storage.list() if info.key not in kept])
        return self._result(manifest)

    def _result(self, manifest: Manifest) -> SplitResult:
        counts = manifest.class_counts
        source = manifest.source
        return SplitResult(
            split=self.plan.split,
            url=self.storage.url,
            samples=manifest.samples,
            shards=len(manifest.shards),
            size_bytes=manifest.size_bytes,
            classes=len(manifest.classes),
            places=len(manifest.places),
            converted=int(source["converted"]),
            converted_formats=_counts(source, _CONVERTED),
            resized=int(source["resized"]),
            stripped=int(source.get("stripped", 0)),
            coordinates=manifest.coordinates,
            problems=_counts(source, _PROBLEMS),
            resumed_shards=self.resumed_shards,
            complete_before=self.complete is not None,
            empty_classes=tuple(name for name, count in zip(manifest.classes, counts, strict=True) if not count),
        )

    def _obstacle(self, objects: dict[str, int]) -> str | None:
        """Why this plan may not write where `objects` are; None where it may, or is complete."""
        if MANIFEST_KEY in objects:
            try:
                manifest = read_manifest(self.storage)
            except DataError:
                return f"its {MANIFEST_KEY} is damaged"
            if is_adopted(manifest):
                return FOREIGN
            packed = manifest.source.get("plan")
            if packed != self.plan.fingerprint and packed == self.plan.with_metadata.fingerprint:
                return "holds this data set with its pictures' metadata (EXIF, GPS), which --keep-metadata would leave"
            if packed != self.plan.fingerprint:
                return "holds another packed data set, or this one with other options"
            lost = [shard.key for shard in manifest.shards if objects.get(shard.key) != shard.size_bytes]
            return f"holds this data set, but {lost[0]} is missing or damaged" if lost else None
        if PLAN_KEY in objects:
            same = self.storage.get(PLAN_KEY).decode() == self.plan.fingerprint
            return None if same else "holds an unfinished pack of other images or with other options"
        foreign = next((key for key in objects if SHARD_KEY.fullmatch(key)), None)
        return f"holds {foreign}, which is not of this data set" if foreign else None

    def _clear(self, keys: Iterable[str]) -> None:
        """Deletes what packing wrote, and nothing else; the manifest first: nobody reads half a set."""
        own = sorted((key for key in keys if OWN_KEYS.fullmatch(key)), key=lambda key: key != MANIFEST_KEY)
        for key in own:
            self.storage.delete(key)


def _counts(source: Mapping[str, str], prefix: str) -> dict[str, int]:
    """The numbers that stand under names with this prefix, by the rest of the name."""
    return {key.removeprefix(prefix): int(count) for key, count in source.items() if key.startswith(prefix)}


def _has_exif_coordinates(path: Path) -> bool:
    with suppress(OSError, ValueError, PictureError):  # a bad image is reported when its shard is packed
        return exif_coordinates(open_source(path.read_bytes())) is not None
    return False


def _encoded_share(root: Path, images: Sequence[tuple[RawImage, int]], options: PackOptions) -> float:
    """How large shrunk images are, as a share of their files, from a few that the seed does not choose."""

    def digest(entry: tuple[RawImage, int]) -> bytes:
        return hashlib.blake2b(entry[0].path.encode(errors="surrogateescape")).digest()

    chosen = sorted(images, key=digest)[:PROBED_IMAGES]
    before, after = 0, 0
    for image, size_bytes in chosen:
        with suppress(OSError, PictureError):  # a bad image is reported when its shard is packed
            content = (root / image.path).read_bytes()
            after += len(pack_image(content, options.short_side, options.quality).content)
            before += size_bytes
    return after / before if before else 1.0
