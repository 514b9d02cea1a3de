"""What an endpoint serves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServedVersion:
    """A version of a model that takes requests."""

    version: str
    """Number of the version."""
    weight: float
    """Its share of the requests, in proportion to the other versions' weights."""
    url: str
    """Where its bundle lies."""
    precision: str
    """Arithmetic of the network, such as `fp32` or `int8`."""
    arch: str | None
    """Name of the architecture; None for a model that is not of the zoo."""


@dataclass(frozen=True)
class ServedModel:
    """A model that an endpoint serves, by its name in the registry."""

    name: str
    versions: tuple[ServedVersion, ...]
    """At least one."""
    label_count: int
    """How many classes it tells apart; 0 of one that gives embeddings."""
    image_size: int
    """Side of the square that the network sees, in pixels."""
    explains: bool
    """Whether it can draw heat maps."""
    coordinates: bool = False
    """Whether it reads where a photograph was taken."""
    task: str = "classification"
    """`classification`: one class of each image; `multilabel`: any number of labels; `embedding`: features."""
