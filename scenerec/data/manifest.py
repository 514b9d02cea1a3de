"""manifest.json: what a packed data set holds, shard by shard, so that nothing has to be opened to plan a job."""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from scenerec.data.labels import OWN_RULE, RULE_PATTERN, Labels, is_multilabel
from scenerec.data.splits import SPLITS
from scenerec.errors import DataError, NotFoundError
from scenerec.frozen import Frozen, Pattern, Sha256, parse_json
from scenerec.storage import IMPATIENT, Patience, Storage, open_storage

MANIFEST_KEY = "manifest.json"


def _is_usual(value: object) -> bool:
    """Whether a field says what is so in most sets that were packed: it is not written, for readers that lack it."""
    return value in (OWN_RULE, "", (), 0)


class Shard(Frozen):
    """One tar of samples: `KEY.jpg` or `KEY.png` (the encoded image) and `KEY.cls` (the class index, in decimal).

    A multi-label set has `KEY.labels.json` in place of the last, a JSON list of class indices.
    `KEY.json` has the sample's coordinates, where they are known: `{"latitude": ..., "longitude": ..., "time": ...}`.
    Shards that were adopted may have other images, other labels (`Manifest.labels`), and be a tar.gz.
    """

    key: str
    """Object key, relative to the manifest, or to `Manifest.shards_at`."""
    size_bytes: int = Field(ge=1)
    """Size of the object."""
    sha256: Sha256
    """Checksum of the object."""
    samples: int = Field(ge=1)
    """Number of samples."""
    class_counts: dict[int, int]
    """Samples of each class index that occurs; one with several labels counts for each."""
    left_out: tuple[int, ...] = Field((), exclude_if=_is_usual)
    """Positions in the tar, from 0, of what is no sample of the set, such as an image without a label."""
    coordinates: int = Field(0, ge=0, exclude_if=_is_usual)
    """Samples of which it is known where they were taken."""


class Place(Frozen):
    """What is known of a class beside its name."""

    indoor_outdoor: Literal["indoor", "outdoor"] | None = None
    """Where such a scene is; None where it may be either."""
    category: tuple[str, ...] = ()
    """The categories that the class belongs to, the widest first."""


class Manifest(Frozen):
    """A packed data set, as its manifest.json describes it."""

    version: int = Field(1, ge=1, le=1)
    """Version of this format."""
    classes: tuple[str, ...] = Field(min_length=1)
    """Class names in order of class index; nested names keep their slashes (`apartment_building/outdoor`)."""
    shards: tuple[Shard, ...] = Field(min_length=1)
    """The shards in order of key."""
    places: dict[str, Place] = Field(default_factory=dict)
    """What is known of a class beside its name, by class name."""
    source: dict[str, str] = Field(default_factory=dict)
    """Where the images came from and how they were packed, for people."""
    labels: Annotated[str, Pattern(RULE_PATTERN, "must be cls, txt or json:FIELD")] = Field(
        OWN_RULE, exclude_if=_is_usual
    )
    """How the shards say a sample's class or labels; see `scenerec.data.labels.Labels`."""
    shards_at: str = Field("", exclude_if=_is_usual)
    """The folder that the shards' keys start from: an address, or `..` of the manifest's folder; empty for that."""

    @model_validator(mode="after")
    def _counts_add_up(self) -> "Manifest":
        for shard in self.shards:
            counts = shard.class_counts.values()
            if not self.is_multilabel and sum(counts) != shard.samples:
                raise ValueError(f"{shard.key}: class_counts add up to {sum(counts)}, samples is {shard.samples}")
            if self.is_multilabel and max(counts, default=0) > shard.samples:
                raise ValueError(f"{shard.key}: class_counts has {max(counts)} of a class, samples is {shard.samples}")
        return self

    @model_validator(mode="after")
    def _labels_in_range(self) -> "Manifest":
        for shard in self.shards:
            if shard.class_counts and not 0 <= min(shard.class_counts) <= max(shard.class_counts) < len(self.classes):
                raise ValueError(f"{shard.key}: a class index is out of range: there are {len(self.classes)} classes")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name stands twice")
        return self

    @property
    def samples(self) -> int:
        """Samples of all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def size_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size_bytes for shard in self.shards)

    @property
    def coordinates(self) -> int:
        """Samples of all shards of which it is known where they were taken."""
        return sum(shard.coordinates for shard in self.shards)

    @property
    def shard_samples(self) -> np.ndarray:
        """Samples of each shard, int64 [shards]."""
        return np.array([shard.samples for shard in self.shards], dtype=np.int64)

    @property
    def shard_bytes(self) -> np.ndarray:
        """Bytes of each shard, int64 [shards]."""
        return np.array([shard.size_bytes for shard in self.shards], dtype=np.int64)

    @property
    def class_counts(self) -> np.ndarray:
        """Samples of each class, int64 [classes]."""
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for shard in self.shards:
            for index, count in shard.class_counts.items():
                counts[index] += count
        return counts

    @property
    def is_multilabel(self) -> bool:
        """Whether a sample has any number of labels, rather than one."""
        return is_multilabel(self.labels)

    @property
    def labelling(self) -> Labels:
        """What the labels in the shards mean."""
        return Labels(self.labels, self.classes)

    def head(self, share: float) -> "Manifest":
        """The first shards, `share` of all of them and at least one: another data set, with another fingerprint."""
        first = self.shards[: max(1, round(share * len(self.shards)))]
        return Manifest.model_validate({**dict(self), "shards": first})

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names and the shards' checksums in order: what the data order of a run depends on."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for shard in self.shards:
            digest.update(f"\n{shard.key} {shard.sha256} {shard.samples}".encode())
            if shard.left_out:
                digest.update(f" without {shard.left_out}".encode())
        if self.labels != OWN_RULE:
            digest.update(f"\nlabels {self.labels}".encode())
        return digest.hexdigest()


def read_manifest(storage: Storage) -> Manifest:
    """The manifest of the packed set in `storage`.

    Raises DataError where there is none or where it is not valid, StorageError where the store does not answer.
    """
    try:
        content = storage.get(MANIFEST_KEY)
    except NotFoundError as error:
        if "no bucket" in str(error):
            raise
        if splits := [
            f"{storage.url}/{split}" for split in SPLITS if storage.size(f"{split}/{MANIFEST_KEY}") is not None
        ]:
            raise DataError(f"{storage.url}: is packed by split: name one of them: {' or '.join(splits)}") from None
        raise DataError(
            f"{storage.url}: no packed data set here ({MANIFEST_KEY} is missing): "
            f"write one with `scenerec data pack SOURCE {storage.url}`, or `scenerec data adopt` if shards are there"
        ) from None
    return parse_json(Manifest, content, f"{storage.url}/{MANIFEST_KEY}", DataError)


def write_manifest(storage: Storage, manifest: Manifest) -> None:
    """Writes manifest.json, which makes the set readable: it goes last."""
    storage.put(MANIFEST_KEY, _encoded(manifest))


def read_versioned_manifest(storage: Storage) -> tuple[Manifest, str]:
    """The manifest and its version, for `replace_manifest`. Raises DataError, StorageError as `read_manifest` does."""
    found = storage.get_versioned(MANIFEST_KEY)
    if found is None:
        return read_manifest(storage), ""
    return parse_json(Manifest, found[0], f"{storage.url}/{MANIFEST_KEY}", DataError), found[1]


def replace_manifest(storage: Storage, manifest: Manifest, version: str) -> bool:
    """Writes manifest.json only where it is still of this version; returns whether it did. Raises StorageError."""
    return storage.put_if(MANIFEST_KEY, _encoded(manifest), version)


def _encoded(manifest: Manifest) -> bytes:
    return json.dumps(manifest.model_dump(mode="json"), indent=1).encode()


def is_adopted(manifest: Manifest) -> bool:
    """Whether the shards of a set were written by somebody else."""
    return "adopted_by" in manifest.source


def shard_storage(storage: Storage, manifest: Manifest, patience: Patience = IMPATIENT) -> Storage:
    """Where the shards of the set are whose manifest lies in `storage`. Raises StorageError."""
    if not manifest.shards_at:
        return storage
    levels = manifest.shards_at.split("/")
    is_above = set(levels) == {".."}
    return open_storage(storage.url.rsplit("/", len(levels))[0] if is_above else manifest.shards_at, patience)
