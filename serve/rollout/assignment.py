"""What the replicas of an application shall serve, and what they say that they do."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Placement:
    """One version in service."""

    model: str
    number: str
    """Of the version; for a bundle that is of no registry a part of its checksum."""
    url: str
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
    replicas: int = 1
    """That share the work, and the callers' rates."""


@dataclass(frozen=True)
class Report:
    """What one replica says, each time it asks what to serve."""

    replica: str
    revision: int
    """Of the assignment that it serves; -1 before the first."""
    placements: tuple[Placement, ...] = ()
    """That it serves."""
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By key of a placement: why it does not serve it."""
    failures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By key of a placement: requests that it could not answer, though they were fine."""
