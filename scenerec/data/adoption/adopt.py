"""Writes a manifest for WebDataset shards that somebody else wrote, so that they are trained on as they are."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import scenerec
from scenerec.data.adoption.census import Census, CensusTask, Misfit, count_shard
from scenerec.data.adoption.shard_names import find_shards
from scenerec.data.class_names import check_names
from scenerec.data.labels import Labels, indices_of
from scenerec.data.manifest import MANIFEST_KEY, Manifest, Shard, is_adopted, read_manifest, write_manifest
from scenerec.data.pool import Runner, process_runner
from scenerec.errors import DataError
from scenerec.frozen import Frozen
from scenerec.names import printable
from scenerec.storage import Storage, open_storage
from scenerec.storage.writable import check_writable

MOST_CLASSES = 250_000
"""More are no classes, but captions or ids."""
MOST_LISTED = 1000
"""Misfits that are kept one by one; all are counted."""
LAYOUT = "webdataset"
"""What the manifest of an adopted set calls it."""


class AdoptRequest(Frozen):
    """Which shards to adopt, and how their labels are read."""

    shards: tuple[str, ...]
    """Tars, patterns of their names, or folders; see `find_shards`."""
    labels: str
    """`cls`, `txt` or `json:FIELD`, of several labels `json:FIELD[]`; see `scenerec.data.labels.Labels`."""
    classes: tuple[str, ...] = ()
    """Class names in order of class index; empty where they are those that occur, or the indices themselves."""
    split: str = ""
    """What part of the data it is: the manifest then goes into a folder of this name beside the shards."""
    output: str = ""
    """Where the manifest goes; empty for beside the shards."""
    skip_bad: bool = False
    """Leave out what cannot be trained on; otherwise nothing is adopted where there is such."""
    overwrite: bool = False
    """Replace the manifest of an earlier adoption."""


@dataclass(frozen=True)
class Adoption:
    """What was found in the shards, and whether they are a set now."""

    url: str
    """The set: where its manifest is, or would be."""
    written: bool
    """Whether the manifest was written: there are no misfits, or they were to be left out."""
    samples: int
    shards: int
    size_bytes: int
    classes: tuple[str, ...]
    empty_classes: int
    """Classes of which there is no sample."""
    turned: int
    """Samples that are upright by EXIF alone, and are turned whenever they are decoded."""
    kinds: dict[str, int]
    """Misfits of each kind, by the kinds of `Misfit`."""
    misfits: tuple[Misfit, ...]
    """The first of them, in order of shards."""
    seconds: float
    images_per_s: float


def adopt(
    request: AdoptRequest,
    run: Runner | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Adoption:
    """Looks through all shards once, and writes manifest.json if each of their samples can be trained on.

    `on_progress` is called with the shards done and all. Raises StorageError and DataError: for names that mean no
    shard, for a destination that holds another set, for labels that are no classes.
    """
    began_s = time.monotonic()
    base, keys = find_shards(request.shards)
    storage = open_storage(request.output or (f"{base}/{request.split}" if request.split else base))
    _check_destination(storage, request.overwrite)
    tasks = [CensusTask(base, key, Labels(request.labels, request.classes)) for key in keys]
    counted = _count(tasks, run or process_runner(1), on_progress)
    kinds: Counter[str] = Counter()
    for census in counted:
        kinds.update(census.kinds)
    misfits = tuple(islice((misfit for census in counted for misfit in census.misfits), MOST_LISTED))
    usable = [census for census in counted if census.samples]
    if not usable:
        remedy = ": --labels says where the class stands" if set(kinds) == {"label"} else ""
        raise DataError(f"{base}: no sample can be trained on: {misfits[0].shard}: {misfits[0].detail}{remedy}")
    manifest = _manifest(request, usable, kinds, base, _way(storage.url, open_storage(base).url))
    written = request.skip_bad or not kinds
    if written:
        write_manifest(storage, manifest)
    seconds = time.monotonic() - began_s
    return Adoption(
        url=storage.url,
        written=written,
        samples=manifest.samples,
        shards=len(manifest.shards),
        size_bytes=manifest.size_bytes,
        classes=manifest.classes,
        empty_classes=int((manifest.class_counts == 0).sum()),
        turned=sum(census.turned for census in usable),
        kinds=dict(kinds),
        misfits=misfits,
        seconds=round(seconds, 3),
        images_per_s=round(manifest.samples / seconds, 1),
    )


def _count(tasks: list[CensusTask], run: Runner, on_progress: Callable[[int, int], None]) -> list[Census]:
    """What each shard holds, in the order of the tasks."""
    found: dict[str, Census] = {}
    on_progress(0, len(tasks))
    for census in run(count_shard, tasks):
        found[census.key] = census
        on_progress(len(found), len(tasks))
    return [found[task.key] for task in tasks]


def _manifest(request: AdoptRequest, usable: list[Census], kinds: Counter[str], base: str, shards_at: str) -> Manifest:
    classes = request.classes or _class_names({value for census in usable for value in census.values}, base)
    if not classes:
        raise DataError(f"{base}: no sample has a label: --labels says where they stand")
    labels = Labels(request.labels, classes)
    source = {"layout": LAYOUT, "labels": request.labels, "adopted_by": f"scenerec {scenerec.__version__}"}
    source |= {"split": request.split} if request.split else {}
    if turned := sum(census.turned for census in usable):
        source |= {"turned_by_exif": str(turned)}
    source |= {f"left_out_{kind.replace(' ', '_')}": str(count) for kind, count in sorted(kinds.items())}
    return Manifest(
        classes=classes,
        shards=tuple(_shard(census, labels) for census in usable),
        source=source,
        labels=request.labels,
        shards_at=shards_at,
    )


def _check_destination(storage: Storage, overwrite: bool) -> None:
    if storage.size(MANIFEST_KEY) is not None:
        elsewhere = "choose another --output or --split"
        if not is_adopted(read_manifest(storage)):
            raise DataError(f"{storage.url}: holds a set that was packed: {elsewhere}")
        if not overwrite:
            raise DataError(f"{storage.url}: holds the {MANIFEST_KEY} of a set: {elsewhere}, or --overwrite")
    check_writable(storage.url)


def _class_names(values: set[int | str], base: str) -> tuple[str, ...]:
    """Names of the classes that occur, sorted; of indices the numbers from 0 to the highest."""
    numbers = [value for value in values if isinstance(value, int)]
    names = sorted(value for value in values if isinstance(value, str))
    if numbers and names:
        raise DataError(
            f"{base}: the labels are class indices ({numbers[0]}) and class names (`{printable(names[0])}`): "
            "say with --classes FILE which is which"
        )
    count = max(numbers) + 1 if numbers else len(names)
    if count > MOST_CLASSES:
        example = max(numbers) if numbers else f"`{printable(names[0])}`"
        raise DataError(
            f"{base}: {count:,} classes, such as {example}, are more than {MOST_CLASSES:,}: is that the class? "
            "choose other --labels, or say --classes FILE"
        )
    try:
        check_names(names)
    except ValueError as error:
        raise DataError(f"{base}: {error}, or say --classes FILE") from None
    return tuple(names) or tuple(map(str, range(count)))


def _shard(census: Census, labels: Labels) -> Shard:
    counts: Counter[int] = Counter()
    for value, count in census.values.items():
        counts.update(dict.fromkeys(indices_of(labels.index(value)), count))
    return Shard(
        key=census.key,
        size_bytes=census.size_bytes,
        sha256=census.sha256,
        samples=census.samples,
        class_counts={index: counts[index] for index in sorted(counts)},
        left_out=census.left_out,
    )


def _way(manifest_url: str, shards_url: str) -> str:
    """The way from the manifest's folder to the shards': nothing, upward, or another address."""
    ours, theirs = manifest_url.split("/"), shards_url.split("/")
    if ours == theirs:
        return ""
    if len(ours) > len(theirs) and ours[: len(theirs)] == theirs:
        return "/".join([".."] * (len(ours) - len(theirs)))
    return shards_url
