"""Reads a packed set from end to end and lists what is wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass

from scenerec.data.labels import Labels
from scenerec.data.manifest import Manifest, Shard, shard_storage
from scenerec.data.packed_image import decode
from scenerec.data.picture import PictureError
from scenerec.data.pool import Runner, process_runner
from scenerec.data.shard import REMEDY, parse_shard, read_shard
from scenerec.errors import DataError, NotFoundError
from scenerec.storage import Storage, open_storage


@dataclass(frozen=True)
class Defect:
    """Something wrong with a shard, or with one sample of it."""

    shard: str
    sample: str
    """Key of the sample; empty where the whole shard is meant."""
    problem: str


@dataclass(frozen=True)
class IntegrityReport:
    """What a check of a packed set found."""

    url: str
    shards: int
    samples: int
    """Samples that could be read."""
    decoded: bool
    """Whether every image was decoded as well."""
    defects: tuple[Defect, ...]


@dataclass(frozen=True)
class ShardCheck:
    """All that a worker needs to check one shard."""

    url: str
    shard: Shard
    labels: Labels
    decode: bool


def check_set(
    storage: Storage,
    manifest: Manifest,
    *,
    decode: bool = True,
    run: Runner | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> IntegrityReport:
    """Checks size, checksum, counts and labels of every shard, and decodes every image (unless told not to).

    `on_progress` is called with the samples done and all. Raises StorageError where the store does not answer.
    """
    labels = manifest.labelling
    shards_url = shard_storage(storage, manifest).url
    tasks = [ShardCheck(shards_url, shard, labels, decode) for shard in manifest.shards]
    planned = {shard.key: shard.samples for shard in manifest.shards}
    samples, done = 0, 0
    defects: list[Defect] = []
    on_progress(0, manifest.samples)
    for shard_key, shard_samples, shard_defects in (run or process_runner(1))(check_shard, tasks):
        samples += shard_samples
        defects += shard_defects
        done += planned[shard_key]
        on_progress(done, manifest.samples)
    ordered = tuple(sorted(defects, key=lambda defect: (defect.shard, defect.sample)))
    return IntegrityReport(storage.url, len(tasks), samples, decode, ordered)


def check_shard(task: ShardCheck) -> tuple[str, int, list[Defect]]:
    """Returns the shard's key, its readable samples and its defects. In a damaged shard it looks for damaged images."""
    key = task.shard.key
    where = f"{task.url}/{key}"
    try:
        content = open_storage(task.url).get(key)
    except NotFoundError:
        return key, 0, [Defect(key, "", "the shard is missing")]
    defects = []
    try:
        samples = read_shard(content, task.shard, task.labels, where)
    except DataError as error:
        defects.append(Defect(key, "", str(error).removeprefix(f"{where}: ").removesuffix(f": {REMEDY}")))
        try:
            samples = parse_shard(content, task.labels, task.shard.left_out, located=task.shard.coordinates > 0)
        except ValueError:
            samples = []
    for sample in samples if task.decode else ():
        try:
            decode(sample.image)
        except PictureError as error:
            defects.append(Defect(key, sample.key, str(error)))
    return key, len(samples), defects
