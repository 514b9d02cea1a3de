"""What a data set's pictures are suspected of, the worst first. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from scenerec.data.finding_kinds import Kind
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.near import groups_of, near_pairs

_DARK_BELOW = 5.0  # grey levels, on average
_BLANK_BELOW = 0.6  # deviation of grey levels
_SHARP_FROM = 0.065
_LEAST_SIDE = 48
_MOST_RATIO = 4.0
_FEW_IMAGES = 20
_FEW_SHARE = 0.1  # of the median class


@dataclass(frozen=True)
class Finding:
    """A picture that somebody should look at."""

    kind: Kind
    path: str
    """The picture that could be left out."""
    split: str
    class_name: str
    detail: str
    """What was seen, in words."""
    twin: str = ""
    """The picture that shows the same."""
    rank: float = 0.0
    """Among others of its kind: the lower, the worse."""
    likely: "LikelyLabel | None" = None
    """What it shows, where its label is likely wrong."""

    @property
    def pictures(self) -> tuple[str, ...]:
        """The pictures that one looks at to decide: itself, its twin, some of the class that it may be of."""
        twin = (self.twin,) if self.twin else ()
        return (self.path, *twin, *(self.likely.examples if self.likely else ()))


@dataclass(frozen=True)
class LikelyLabel:
    """The class that a picture likely shows, in the place of its label."""

    class_name: str
    probability: float
    """How probable this class is."""
    label_probability: float
    """How probable the picture's label is."""
    examples: tuple[str, ...]
    """Some pictures of this class."""


@dataclass(frozen=True)
class Findings:
    """What was found in a data set."""

    pictures: int
    """All that were looked at."""
    found: tuple[Finding, ...]
    """The worst first."""
    few: dict[str, int]
    """Images of classes that have few."""
    remarks: tuple[str, ...] = ()
    """Who judged the labels, and how well, in words."""

    @property
    def counts(self) -> dict[Kind, int]:
        """How many there are of each kind that occurs, the worst first."""
        counted = Counter(finding.kind for finding in self.found)
        return {kind: counted[kind] for kind in Kind if counted[kind]}


def judge(pictures: Iterable[PictureFacts], others: Iterable[Finding] = (), remarks: Iterable[str] = ()) -> Findings:
    """What the pictures of a data set, whichever order they come in, are suspected of; `others` has found others."""
    everything = sorted(pictures, key=lambda each: (each.split != "train", each.split, each.path))
    plain = [picture for picture in everything if shows_something(picture)]
    found = _doubled(plain)
    doubled = {path for each in found for path in each.pictures}
    found += (finding for each in everything if (finding := _alone(each)))
    found += (each for each in others if each.kind is not Kind.SIMILAR or each.path not in doubled)
    order = list(Kind)
    found.sort(key=lambda each: (order.index(each.kind), each.rank, each.split, each.path))
    return Findings(len(everything), tuple(found), _few(everything), tuple(remarks))


def shows_something(picture: PictureFacts) -> bool:
    """Whether it can be decoded, and is not of one colour."""
    return not picture.unreadable and picture.contrast >= _BLANK_BELOW


def alike_groups(pictures: Sequence[PictureFacts]) -> list[list[int]]:
    """The places of pictures that can be decoded and show the same, in groups of two and more; none of one colour."""
    places = [place for place, each in enumerate(pictures) if each.contrast >= _BLANK_BELOW]
    plain = [pictures[place] for place in places]
    groups = groups_of([*_same_bytes(plain), *near_pairs(plain)], len(plain))
    return [[places[place] for place in group] for group in groups]


def _doubled(pictures: Sequence[PictureFacts]) -> list[Finding]:
    """What shows the same as another picture: of each group all that could be left out."""
    found: list[Finding] = []
    for group in alike_groups(pictures):
        found += _of_group([pictures[place] for place in group])
    return found


def _same_bytes(pictures: Sequence[PictureFacts]) -> list[tuple[int, int]]:
    first: dict[bytes, int] = {}
    return [(first.setdefault(each.digest, place), place) for place, each in enumerate(pictures)]


def _of_group(group: Sequence[PictureFacts]) -> list[Finding]:
    """Pictures that look alike, training's first. Of a leak training's could be left out, so that evaluation stays."""
    evaluated = [each for each in group if each.split not in ("train", "")]
    if len({each.class_name for each in group}) > 1:
        return [_twin(Kind.CONFLICT, each, _other(each, group)) for each in group]
    if evaluated and len(evaluated) < len(group):
        return [_twin(Kind.LEAKED, each, evaluated[0]) for each in group if each.split == "train"]
    return [_twin(Kind.DUPLICATE, each, group[0]) for each in group[1:]]


def _other(picture: PictureFacts, group: Sequence[PictureFacts]) -> PictureFacts:
    return next(each for each in group if each.class_name != picture.class_name)


def _twin(kind: Kind, picture: PictureFacts, twin: PictureFacts) -> Finding:
    how = "same bytes" if picture.digest == twin.digest else "looks the same"
    where = f"{twin.split}, {twin.class_name}" if twin.split else twin.class_name
    return Finding(kind, picture.path, picture.split, picture.class_name, f"{how} as {twin.path} ({where})", twin.path)


def _alone(picture: PictureFacts) -> Finding | None:
    """What a picture is suspected of by itself: the worst of it."""

    def finding(kind: Kind, detail: str, rank: float = 0.0) -> Finding:
        return Finding(kind, picture.path, picture.split, picture.class_name, detail, rank=rank)

    sides = sorted((picture.height, picture.width))
    if picture.unreadable:
        return finding(Kind.UNREADABLE, picture.unreadable)
    if not shows_something(picture):
        return finding(Kind.BLANK, f"levels differ by {picture.contrast:.1f} of 255")
    if picture.brightness < _DARK_BELOW:
        return finding(Kind.DARK, f"mean level {picture.brightness:.1f} of 255", picture.brightness)
    if picture.sharpness < _SHARP_FROM:
        return finding(Kind.BLURRED, f"sharpness {picture.sharpness:.3f}", picture.sharpness)
    if sides[0] < _LEAST_SIDE:
        return finding(Kind.TINY, f"{picture.width} x {picture.height} pixels", sides[0])
    if sides[1] > _MOST_RATIO * sides[0]:
        return finding(Kind.ODD_RATIO, f"{picture.width} x {picture.height} pixels", sides[0] / sides[1])
    return None


def _few(pictures: Sequence[PictureFacts]) -> dict[str, int]:
    """Classes with few images to learn from: fewer than 20, or than a tenth of what the median class has."""
    counts = Counter(each.class_name for each in pictures if each.split in ("train", ""))
    least = max(_FEW_IMAGES, _FEW_SHARE * median(counts.values())) if counts else 0
    return {name: count for name, count in sorted(counts.items(), key=lambda each: each[1]) if count < least}
