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
    """A transparent overlay in PNG, image_size x image_size pixels."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one photograph."""

    classes: tuple[Guess, ...]
    """The most probable first; none where there is an embedding."""
    model: str
    """Name of the model."""
    version: str
    """Number of the version in the registry that answered: it may change from call to call."""
    request_id: str
    """The id under which the endpoint's log has the request; predictions of one request share it."""
    indoor_outdoor: str | None = None
    """`indoor` or `outdoor`, where the model's data set tells."""
    category: tuple[str, ...] = ()
    """Categories of the most probable class, the widest first, where the model's data set tells."""
    abstained: bool | None = None
    """Whether the model is not sure enough of the most probable class for the precision that it was exported with; None
    where it was exported with none."""
    given_labels: tuple[Guess, ...] | None = None
    """The labels that a multi-label model gives the photograph, the most probable first, of which there may be none;
    None of a model that tells one class."""
    heat_map: HeatMap | None = None
    """Where the model saw the most probable class, if that was asked for."""
    embedding: tuple[float, ...] | None = None
    """The features of the photograph, where the model gives those in place of classes."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of the whole request by the endpoint's clock, as total, queued, prepared and inferred."""
