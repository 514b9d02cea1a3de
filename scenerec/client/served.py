"""What an endpoint serves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServedVersion:
    """A version of a model that takes requests."""

    version: str
    weight: float
    """Its share of the requests, in proportion to the other versions' weights."""
    url: str
    """Of its bundle."""
    precision: str
    arch: str


@dataclass(frozen=True)
class ServedModel:
    """A model that an endpoint serves, by its name in the registry."""

    name: str
    versions: tuple[ServedVersion, ...]
    label_count: int
    image_size: int
    """Pixels of a side, at which the network sees images."""
    explains: bool
    """Whether it can draw heat maps."""
