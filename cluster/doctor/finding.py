"""A finding of `scenerec cluster doctor`, and the line that tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from scenerec.names import few


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but slowly, or not under all circumstances."""
    FAULT = "fault"
    """Jobs will fail, or strangers can run them."""


class Finding(NamedTuple):
    """What was found on one node, or on the cluster as a whole."""

    check: str
    """What was looked at, in a word or two."""
    level: Level
    """How bad it is."""
    text: str
    """What is so, in one line."""
    remedy: str = ""
    """What to do about it; empty where nothing needs to be done."""
    node: str = ""
    """Address of the node; empty for the whole cluster."""


class Client(NamedTuple):
    """Where the question came from."""

    versions: Mapping[str, str]
    """Versions of Python and packages there."""
    dashboard_url: str
    """How the cluster was reached."""


@dataclass(frozen=True)
class Line:
    """The same finding on some nodes, in one line."""

    check: str
    level: Level
    text: str
    remedy: str
    nodes: tuple[str, ...]
    """Addresses of the nodes; empty for the whole cluster."""

    @property
    def where(self) -> str:
        """The nodes in words: `10.0.0.1, 10.0.0.2, 10.0.0.3 and 61 more`."""
        return few(self.nodes)
