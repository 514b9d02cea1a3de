"""One pass over a shard that somebody else wrote: what it holds, and what of that cannot be trained on."""

import hashlib
from collections import Counter
from dataclasses import dataclass

from scenerec.data.foreign_formats import foreign_format
from scenerec.data.labels import Labels
from scenerec.data.picture import UPRIGHT, Picture, PictureError, UnknownFormatError
from scenerec.data.shard import Group, cut_groups
from scenerec.errors import NotFoundError
from scenerec.names import printable
from scenerec.storage import open_storage

MOST_LISTED = 50
"""Problems of a shard that are told one by one; all are counted."""

_FOREIGN_SUFFIXES = {"heic": "HEIC", "heif": "HEIC", "avif": "AVIF", "tif": "TIFF", "tiff": "TIFF", "jxl": "JPEG XL"}


@dataclass(frozen=True)
class Misfit:
    """A sample, or a whole shard, that cannot be trained on."""

    shard: str
    kind: str
    """`image` or `label`: missing, or two; `doubled`: the key stands twice; `format NAME`; `unreadable`;
    `shard`: missing, truncated, or no tar."""
    detail: str
    """What is wrong, with the sample's key."""


@dataclass(frozen=True)
class CensusTask:
    """All that a worker needs to look through one shard."""

    url: str
    key: str
    labels: Labels
    """Without classes, where these are to be found."""


@dataclass(frozen=True)
class Census:
    """What one shard holds."""

    key: str
    size_bytes: int
    sha256: str
    samples: int
    """Samples that can be trained on; 0 where the whole shard is a misfit."""
    values: dict[int | str, int]
    """How many of them are of each class index or class name; with several labels, of each."""
    turned: int
    """Of these samples, the pictures that are upright by EXIF alone."""
    left_out: tuple[int, ...]
    """Positions of the misfits."""
    kinds: dict[str, int]
    """Misfits of each kind."""
    misfits: tuple[Misfit, ...]
    """The first of them."""


class _MisfitError(Exception):
    """Ends the look at a sample that cannot be trained on."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def count_shard(task: CensusTask) -> Census:
    """Decodes every image of a shard and reads every label. Raises StorageError where the store does not answer."""
    try:
        content = open_storage(task.url).get(task.key)
    except NotFoundError:
        return _unusable(task.key, "there is no such object")
    values: Counter[int | str] = Counter()
    samples = turned = 0
    kinds: Counter[str] = Counter()
    left_out: list[int] = []
    misfits: list[Misfit] = []
    seen: set[str] = set()
    try:
        for position, group in enumerate(cut_groups(content)):
            try:
                value, orientation = _look(group, task.labels, seen)
                values.update(value if isinstance(value, tuple) else (value,))
                samples += 1
                turned += orientation != UPRIGHT
            except _MisfitError as error:
                left_out.append(position)
                kinds[error.kind] += 1
                if len(misfits) < MOST_LISTED:
                    misfits.append(Misfit(task.key, error.kind, printable(str(error))))
    except ValueError as error:
        return _unusable(task.key, printable(str(error)))
    if not samples and not kinds:
        return _unusable(task.key, "has no sample")
    digest = hashlib.sha256(content).hexdigest()
    problems = tuple(left_out), dict(kinds), tuple(misfits)
    return Census(task.key, len(content), digest, samples, dict(values), turned, *problems)


def _unusable(key: str, detail: str) -> Census:
    return Census(key, 0, "", 0, {}, 0, (), {"shard": 1}, (Misfit(key, "shard", detail),))


def _look(group: Group, labels: Labels, seen: set[str]) -> tuple[int | str | tuple[int | str, ...], int]:
    """The class index or name of a sample, or all, and the orientation of its picture. Raises _MisfitError."""
    if group.key in seen:
        raise _MisfitError("doubled", f"{group.key}: the key stands twice in the shard")
    seen.add(group.key)
    try:
        image = group.image()
    except ValueError as error:
        if foreign := next((name for suffix, name in _FOREIGN_SUFFIXES.items() if suffix in group.members), None):
            raise _MisfitError(f"format {foreign}", f"{group.key}: a {foreign} image") from None
        raise _MisfitError("image", str(error)) from None
    try:
        value = group.label(labels)
        if labels.classes:
            value = labels.index(value)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, int) and each < 0:
                raise ValueError(f"label {each} is below 0")
    except ValueError as error:
        detail = str(error)
        raise _MisfitError("label", detail if detail.startswith(group.key) else f"{group.key}: {detail}") from None
    try:
        picture = Picture(image)
        picture.stored()
    except UnknownFormatError as error:
        raise _MisfitError(f"format {foreign_format(image) or 'unknown'}", f"{group.key}: {error}") from None
    except PictureError as error:
        raise _MisfitError("unreadable", f"{group.key}: {error}") from None
    return value, picture.orientation
