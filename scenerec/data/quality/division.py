"""Which images of a folder without splits are for training, and which for validation. Pure.

What looks alike stays together, so that no image that is learned from is validated on under another name.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.findings import alike_groups
from scenerec.errors import DataError
from scenerec.names import few, printable

MANY_IMAGES = 10_000
"""From so many images on a tenth of them is enough to validate on; else a fifth is."""
_OVERFULL = 1.5  # of its share may go to validation: a group is not cut

NOTHING_KNOWN: Mapping[str, str] = {}


@dataclass(frozen=True)
class Division:
    """The split of each image."""

    splits: Mapping[str, str]
    """`train` or `val` by the image's path."""
    alike: int
    """Images that look like another one; those of a group are all in one split."""
    cut: tuple[str, ...] = ()
    """Classes of one group only: all their images look alike, and stand in both splits all the same."""

    @property
    def validated(self) -> int:
        """Images to validate on."""
        return sum(split == "val" for split in self.splits.values())


def divide(pictures: Sequence[PictureFacts], known: Mapping[str, str] = NOTHING_KNOWN) -> Division:
    """Divides the images of each class: about a fifth is for validation, of `MANY_IMAGES` and more a tenth.

    The same images are divided in the same way, in whatever order they come. Those that an earlier division knows
    stay where they are, with what looks like them. What cannot be decoded, and what looks like an image of another
    class, is for training.

    Raises DataError for a class with fewer than two images that can be decoded.
    """
    pictures = sorted(pictures, key=lambda each: each.path)
    share = 0.1 if len(pictures) >= MANY_IMAGES else 0.2
    readable = [each for each in pictures if not each.unreadable]
    _check_counts(pictures, readable)
    splits = {each.path: "train" for each in pictures}
    groups = alike_groups(readable)
    together = {place for group in groups for place in group}
    alone = [[place] for place in range(len(readable)) if place not in together]
    by_class: dict[str, list[Sequence[PictureFacts]]] = defaultdict(list)
    sizes: Counter[str] = Counter(each.class_name for each in readable)
    for group in [[readable[place] for place in places] for places in [*groups, *alone]]:
        if len({each.class_name for each in group}) == 1:
            by_class[group[0].class_name].append(group)
    cut = []
    for class_name, members in by_class.items():
        quota = max(1, round(share * sizes[class_name]))
        if len(members) == 1:
            members = [[each] for each in members[0]]
            cut.append(class_name)
        for chosen in _validated(members, quota, known):
            splits.update((each.path, "val") for each in chosen)
    for class_name in sizes.keys() - by_class.keys():
        raise DataError(
            f"class `{printable(class_name)}`: each of its images stands under another class, too: remove them there "
            "(`scenerec data check` lists them)"
        )
    return Division(splits, len(together), tuple(sorted(cut)))


def _check_counts(pictures: Sequence[PictureFacts], readable: Sequence[PictureFacts]) -> None:
    counts = Counter(each.class_name for each in readable)
    if poor := sorted(name for name in {each.class_name for each in pictures} if counts[name] < 2):
        there = f"has {counts[poor[0]]} image(s)" if len(poor) == 1 else "have fewer than 2 images"
        damaged = next((each for each in pictures if each.class_name == poor[0] and each.unreadable), None)
        why = f" ({printable(damaged.path)}: {damaged.unreadable})" if damaged else ""
        raise DataError(
            f"{few(poor)} {there} that can be decoded{why}: one to learn from and one to validate on are the least: "
            "add some, or remove the class"
        )


def _validated(
    groups: Sequence[Sequence[PictureFacts]], quota: int, known: Mapping[str, str]
) -> list[Sequence[PictureFacts]]:
    """The groups of a class that go to validation: those that were there, then others in an order of their own."""
    before = [{known[each.path] for each in group if each.path in known} for group in groups]
    taken = [group for group, splits in zip(groups, before, strict=True) if splits == {"val"}]
    stay = [group for group, splits in zip(groups, before, strict=True) if "train" in splits]
    if len(taken) == len(groups):
        return []  # of which none would be left to learn from
    count = sum(map(len, taken))
    others = sorted((group for group in groups if group not in taken and group not in stay), key=_rank)
    for group in others:
        if count < quota and count + len(group) <= max(_OVERFULL * quota, 1) and len(taken) < len(groups) - 1:
            taken.append(group)
            count += len(group)
    return taken or [min(others or groups, key=lambda group: (len(group), _rank(group)))]


def _rank(group: Sequence[PictureFacts]) -> bytes:
    """A place among others that does not depend on them: more images move few."""
    return min(hashlib.blake2b(each.digest + each.path.encode(errors="surrogateescape")).digest() for each in group)
