"""What an endpoint says of a photograph."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Guess:
    """A class, and how probable the model holds it for."""

    label: str
    probability: float
    """0 to 1."""


@dataclass(frozen=True)
class HeatMap:
    """Where in the image the model saw what speaks for a class."""

    label: str
    png: bytes
    """A transparent overlay, of the model's image size."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one photograph."""

    classes: tuple[Guess, ...]
    """The most probable first."""
    model: str
    version: str
    """Of the model in the registry: the one that answered, which may change from call to call."""
    request_id: str
    """Under which the endpoint's log has it; those of one request share it."""
    indoor_outdoor: str | None = None
    """Where the model's data set tells."""
    category: tuple[str, ...] = ()
    """Of the most probable class, where the model's data set tells."""
    heat_map: HeatMap | None = None
    """Where it was asked for."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Of the whole request, by the endpoint's clock: total, queued, prepared, inferred."""
