"""How the samples of a packed set say their class, or their labels: in a member of their own, or in a field of one."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scenerec.names import clean

Label = int | tuple[int, ...]
"""The class index of a sample; of a multi-label set its class indices, rising, none where it has no label."""

OWN_RULE = "cls"
"""That of sets which `scenerec data pack` wrote: the class index, in decimal."""
OWN_MULTI_RULE = "labels.json"
"""That of multi-label sets which it wrote: a JSON list of class indices."""
RULE_PATTERN = r"cls|txt|labels\.json|json:.+"

SEPARATOR = ";"
"""Between the labels of an image in lists and tables."""

_INDEX = re.compile(r"-?\d{1,18}")
_LONGEST_NAME = 200
_SHOWN_BYTES = 20


@dataclass(frozen=True)
class Labels:
    """What the labels in a set's shards mean. Nothing in a shard is ever unpickled."""

    rule: str
    """`cls`: an index or a class name; `txt`: a class name; `json:FIELD`: an index or a name, by its type in JSON.

    Of a multi-label set: `labels.json`, a list of indices or names; `json:FIELD[]`, such a list in a field.
    """
    classes: tuple[str, ...]
    """Class names in order of class index."""

    @property
    def suffix(self) -> str:
        """Suffix of the member that holds a sample's label."""
        return self.rule.partition(":")[0]

    @property
    def is_multilabel(self) -> bool:
        """Whether a sample has any number of labels, rather than one."""
        return is_multilabel(self.rule)

    def value(self, content: bytes) -> int | str | tuple[int | str, ...]:
        """The class index or the class name that a label says, or all. Raises ValueError where it says neither."""
        if self.is_multilabel:
            return tuple(_listed(content, self.rule.partition(":")[2].removesuffix("[]")))
        if field := self.rule.partition(":")[2]:
            return _named_or_numbered(_field(content, field), f"`{field}`")
        try:
            text = content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{content[:_SHOWN_BYTES]!r} is not UTF-8 text") from None
        return int(text) if self.suffix == "cls" and _INDEX.fullmatch(text) else _name(text)

    def index(self, value: int | str | tuple[int | str, ...]) -> Label:
        """The class index of what a label says, or all. Raises ValueError where there is no such class."""
        if isinstance(value, tuple):
            return tuple(sorted({self._index(each) for each in value}))
        return self._index(value)

    def named(self, label: Label) -> str:
        """The name of a sample's class; of a multi-label set the names of its labels, or "-" where it has none."""
        return SEPARATOR.join(self.classes[index] for index in indices_of(label)) or "-"

    def array(self, labels: Sequence[Label]) -> np.ndarray:
        """The labels of n samples: class indices, int64 [n].

        Of a multi-label set 1 where an image has a label, else 0: float32 [n, classes].
        """
        if not self.is_multilabel:
            return np.array(labels, dtype=np.int64)
        array = np.zeros((len(labels), len(self.classes)), np.float32)
        for row, indices in zip(array, labels, strict=True):
            row[np.array(indices, np.int64)] = 1
        return array

    def _index(self, value: int | str) -> int:
        if isinstance(value, str):
            if value not in self._indices:
                raise ValueError(f"{value.encode()[:_SHOWN_BYTES]!r} is not a class index, nor the name of a class")
            return self._indices[value]
        if not 0 <= value < len(self.classes):
            raise ValueError(f"label {value} is out of range, there are {len(self.classes)} classes")
        return value

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {clean(name): index for index, name in enumerate(self.classes)}


def is_multilabel(rule: str) -> bool:
    """Whether samples whose labels are said by this rule have any number of them, rather than one."""
    return rule == OWN_MULTI_RULE or rule.endswith("[]")


def indices_of(label: Label) -> tuple[int, ...]:
    """All class indices of a sample."""
    return label if isinstance(label, tuple) else (label,)


def _listed(content: bytes, field: str) -> Iterator[int | str]:
    found = _field(content, field) if field else _document(content)
    what = f"`{field}`" if field else "the label"
    if not isinstance(found, list):
        raise ValueError(f"{what} is no list")
    for each in found:
        yield _named_or_numbered(each, f"an entry of {what}")


def _named_or_numbered(found: object, what: str) -> int | str:
    if isinstance(found, str):
        return _name(found)
    if isinstance(found, bool) or not isinstance(found, int):
        raise ValueError(f"{what} is neither a whole number nor text")
    return found


def _field(content: bytes, field: str) -> object:
    document = _document(content)
    if not isinstance(document, dict) or field not in document:
        raise ValueError(f"has no field `{field}`")
    return document[field]


def _document(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None


def _name(text: str) -> str:
    name = clean(text)
    if not name:
        raise ValueError("the label is empty")
    if len(name) > _LONGEST_NAME or "\n" in text.strip():
        raise ValueError("is a text of several lines or many words, not the name of a class")
    return name
