"""What the replicas of an application shall serve, and what they say that they do."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Placement:
    """One version in service."""

    model: str
    number: str
    """Number of the version; for a bundle that is of no registry a part of its checksum."""
    url: str
    """Where its bundle lies."""
    digest: str
    """SHA-256 of its bundle.json, which lists the checksums of its files: this very bundle and no other."""
    weight: float = 1.0
    """Share of the model's requests that name no version."""

    @property
    def key(self) -> tuple[str, str]:
        """Which version of which model, whatever its share."""
        return self.model, self.digest

    def __str__(self) -> str:
        return f"{self.model}:{self.number}"


@dataclass(frozen=True)
class Assignment:
    """What all replicas shall serve."""

    revision: int
    """Rises with each change."""
    placements: tuple[Placement, ...]
    """The versions to serve."""
    replicas: int = 1
    """How many replicas share the work, and the callers' rates."""


@dataclass(frozen=True)
class Report:
    """What one replica says, each time it asks what to serve."""

    replica: str
    """Name of the replica in Ray Serve."""
    revision: int
    """Revision of the assignment that it serves; -1 before the first."""
    placements: tuple[Placement, ...] = ()
    """The versions that it serves."""
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Why it does not serve a placement, by the placement's key."""
    failures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many requests a placement could not answer, though they were fine, by its key."""
