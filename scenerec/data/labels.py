"""How the samples of a packed set say their class: in a member of their own, or in a field of one."""

import json
import re
from dataclasses import dataclass
from functools import cached_property

from scenerec.names import clean

OWN_RULE = "cls"
"""That of sets which `scenerec data pack` wrote: the class index, in decimal."""
RULE_PATTERN = r"cls|txt|json:.+"

_INDEX = re.compile(r"-?\d{1,18}")
_LONGEST_NAME = 200
_SHOWN_BYTES = 20


@dataclass(frozen=True)
class Labels:
    """What the labels in a set's shards mean. Nothing in a shard is ever unpickled."""

    rule: str
    """`cls`: an index or a class name; `txt`: a class name; `json:FIELD`: an index or a name, by its type in JSON."""
    classes: tuple[str, ...]
    """Class names in order of class index."""

    @property
    def suffix(self) -> str:
        """Suffix of the member that holds a sample's label."""
        return self.rule.partition(":")[0]

    def value(self, content: bytes) -> int | str:
        """The class index or the class name that a label says. Raises ValueError where it says neither."""
        if field := self.rule.partition(":")[2]:
            return _field(content, field)
        try:
            text = content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{content[:_SHOWN_BYTES]!r} is not UTF-8 text") from None
        return int(text) if self.suffix == "cls" and _INDEX.fullmatch(text) else _name(text)

    def index(self, value: int | str) -> int:
        """The class index of what a label says. Raises ValueError where there is no such class."""
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


def _field(content: bytes, field: str) -> int | str:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict) or field not in document:
        raise ValueError(f"has no field `{field}`")
    found = document[field]
    if isinstance(found, str):
        return _name(found)
    if isinstance(found, bool) or not isinstance(found, int):
        raise ValueError(f"`{field}` is neither a whole number nor text")
    return found


def _name(text: str) -> str:
    name = clean(text)
    if not name:
        raise ValueError("the label is empty")
    if len(name) > _LONGEST_NAME or "\n" in text.strip():
        raise ValueError("is a text of several lines or many words, not the name of a class")
    return name
