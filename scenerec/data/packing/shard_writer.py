"""Writing one shard: the unit of a pack's work, on a process of this machine or on a node of a cluster."""

import hashlib
import io
import json
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from scenerec.data.contents import image_digest
from scenerec.data.coordinates import COORDINATES_SUFFIX, encode_coordinates
from scenerec.data.exif import exif_coordinates
from scenerec.data.labels import OWN_MULTI_RULE, OWN_RULE, indices_of
from scenerec.data.manifest import Shard
from scenerec.data.packing.formats import open_source
from scenerec.data.packing.intake import pack_image
from scenerec.data.packing.known_images import read_known
from scenerec.data.packing.pack_plan import PackOptions, PlannedImage
from scenerec.data.packing.raw_set import Problem, ProblemKind
from scenerec.data.picture import PictureError, UnknownFormatError
from scenerec.frozen import Frozen
from scenerec.storage import open_storage


class ShardRecord(Frozen):
    """What became of one planned shard: `.pack/000000.json`."""

    plan: str
    shard: Shard | None
    """None where no image of it could be packed: there is then no tar."""
    converted: int
    resized: int
    stripped: int = 0
    converted_formats: dict[str, int] = Field(default_factory=dict)
    """Of what was re-encoded, the images of each format that a file had."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class ShardTask:
    """All that a worker needs to pack one shard."""

    number: int
    images: tuple[PlannedImage, ...]
    root: Path
    url: str
    """Where the shard goes."""
    options: PackOptions
    plan: str
    mark: str = ""
    """What ends the shard's name beside its number, where it is added to a set."""
    known: str = ""
    """Key of the table of images that the set and its other splits have (`read_known`), if they are to be looked up."""

    @property
    def key(self) -> str:
        """The shard's object key."""
        return f"{self.number:06d}{self.mark}.tar"

    @property
    def record_key(self) -> str:
        """Key of the record that says that the shard is finished."""
        return f".pack/{self.number:06d}{self.mark}.json"


def pack_shard(task: ShardTask) -> tuple[str, int, ShardRecord]:
    """Writes one shard, then the record that it is finished. Returns where it went, its number and the record."""
    content, record = build_shard(task)
    storage = open_storage(task.url)
    if content:
        storage.put(task.key, content)
    storage.put(task.record_key, record.model_dump_json().encode())
    return task.url, task.number, record


def build_shard(task: ShardTask) -> tuple[bytes, ShardRecord]:
    """The bytes of a shard, the same for the same images, and its record, which lists what cannot be packed."""
    buffer = io.BytesIO()
    counts: Counter[int] = Counter()
    samples = located = 0
    did = Counter(converted=0, resized=0, stripped=0)
    formats: Counter[str] = Counter()
    problems: list[Problem] = []
    options = task.options
    known = read_known(task.url, task.known) if task.known else None
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for image in task.images:
            try:
                file = (task.root / image.path).read_bytes()
                packed = pack_image(file, options.short_side, options.quality, options.keep_metadata)
            except OSError as error:
                problems.append(Problem.of("missing", image.path, error.strerror or str(error)))
                continue
            except PictureError as error:
                kind: ProblemKind = "format" if isinstance(error, UnknownFormatError) else "unreadable"
                problems.append(Problem.of(kind, image.path, str(error)))
                continue
            if known and (twin := known.get(image_digest(packed.content))):
                problems.append(Problem.of(twin.kind, image.path, twin.detail))
                if twin.kind == "duplicate":
                    continue
            coordinates = image.coordinates
            if coordinates is None and options.coordinates_from_exif:
                try:
                    coordinates = exif_coordinates(open_source(file))
                except ValueError as error:
                    problems.append(Problem.of("coordinates", image.path, f"EXIF: {error}"))
            _add(tar, f"{image.key}.{packed.suffix}", packed.content)
            if isinstance(image.label, int):
                _add(tar, f"{image.key}.{OWN_RULE}", str(image.label).encode())
            else:
                _add(tar, f"{image.key}.{OWN_MULTI_RULE}", json.dumps(image.label).encode())
            if coordinates is not None:
                _add(tar, f"{image.key}.{COORDINATES_SUFFIX}", encode_coordinates(coordinates))
                located += 1
            counts.update(indices_of(image.label))
            samples += 1
            did.update(converted=packed.converted, resized=packed.resized, stripped=packed.stripped)
            formats[packed.format] += packed.converted
    content = buffer.getvalue() if samples else b""
    shard = None
    if content:
        checksum = hashlib.sha256(content).hexdigest()
        ordered = {label: counts[label] for label in sorted(counts)}
        shard = Shard(
            key=task.key,
            size_bytes=len(content),
            sha256=checksum,
            samples=samples,
            class_counts=ordered,
            coordinates=located,
        )
    re_encoded = {name: formats[name] for name in sorted(+formats)}
    record = ShardRecord(plan=task.plan, shard=shard, converted_formats=re_encoded, problems=tuple(problems), **did)
    return content, record


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # owner, group and time stay 0: the tar depends on its samples alone
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
