"""Class names: from the folders of a data set and from lists, as they are given to classes and to a model's outputs."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from scenerec.names import clean, printable

_SHOWN_CHARACTERS = 80
_INDEX_LAST = re.compile(r"(?P<name>.+?)[ ,;:]+(?P<index>\d{1,9})")
_INDEX_FIRST = re.compile(r"(?P<index>\d{1,9})[ ,;:.)]+(?P<name>.+)")


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError for a class name that cannot be written down, and for two that differ in case only."""
    by_case: dict[str, str] = {}
    for name in names:
        if not name:
            raise ValueError("a class has no name")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
            raise ValueError(f"class `{_shown(name)}`: its name is not UTF-8 text: rename it")
        other = by_case.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(f"classes `{_shown(other)}` and `{_shown(name)}` differ in case only: give both one name")


def without_alphabet(paths: Sequence[str]) -> list[str]:
    """The names without slashes around them, and without the folder of Places and SUN (`a/abbey`) if all have it."""
    bare = [path.strip("/") for path in paths]
    lettered = all(path[1:2] == "/" and path[2:3].lower() == path[0].lower() for path in bare)
    return [path[2:] for path in bare] if lettered else bare


def parse_class_list(text: str) -> dict[str, str]:
    """The classes of a list, one a line in order of class index: the name of each, by the path that the list gives it.

    Understands a name alone, Places365's `/b/beach 48` and SUN397's `/b/beach`, and `48 beach`; where all lines have
    an index, that decides the order. Raises ValueError where the list leaves open which class has which index.
    """
    lines = [clean(line) for line in re.split(r"\r\n|\r|\n", text)]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ValueError("names no class: write one class name a line")
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} is empty: each line is a class, so remove it or name the class")
    if lines[0][0] in "[{":
        raise ValueError("is no list of lines: write one class name a line")
    paths = [path.strip("/") for path in _in_order_of_index(lines)]
    names = without_alphabet(paths)
    by_name: dict[str, int] = {}
    for number, name in enumerate(names):
        if (first := by_name.setdefault(name, number)) != number:
            raise ValueError(f"class `{_shown(name)}` stands twice, as class {first} and {number}: name each once")
    check_names(names)
    return dict(zip(paths, names, strict=True))


def check_order(labels: Sequence[str], classes: Sequence[str], where: str) -> None:
    """Raises ValueError where the labels are the classes of `where`, but in another order.

    Other names are no fault: they may be translated.
    """
    places = {clean(name): index for index, name in enumerate(classes)}
    if places.keys() == set(map(clean, labels)):
        for index, label in enumerate(map(clean, labels)):
            if places[label] != index:
                raise ValueError(f"label {index} is {_shown(label)!r}, which is class {places[label]} of {where}")


def _in_order_of_index(lines: Sequence[str]) -> list[str]:
    """The lines without their class indices, sorted by them; the lines as they are where they have none."""
    for form in (_INDEX_LAST, _INDEX_FIRST):
        found = [match for line in lines if (match := form.fullmatch(line))]
        if len(found) != len(lines):
            continue
        by_index = {int(match["index"]): match["name"] for match in found}
        indices, names = sorted(by_index), set(by_index.values())
        is_places = all(line.startswith("/") for line in lines)
        firsts = (0,) if is_places else (0, 1)
        if len(names) == len(lines) and any(indices == list(range(first, first + len(lines))) for first in firsts):
            return [by_index[index] for index in indices]
        if is_places:
            raise ValueError(f"the class indices are not 0 to {len(lines) - 1}, each once")
    return list(lines)


def _shown(name: str) -> str:
    return printable(name, _SHOWN_CHARACTERS)
