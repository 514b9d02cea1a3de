"""What a config calls a network by: an architecture of the zoo, and weights by name or address."""

from typing import Annotated

from pydantic import AfterValidator

from scenerec.config.location import expand_location
from scenerec.errors import ModelError
from scenerec.models.weights.published import is_name
from scenerec.models.zoo import architecture


def expand_weights(weights: str) -> str:
    """A published name or a URL as it is; else an address as `expand_location` leaves it, which raises ValueError."""
    return weights if is_name(weights) or weights.startswith(("http://", "https://")) else expand_location(weights)


def _known_architecture(name: str) -> str:
    try:
        return architecture(name).name
    except ModelError as error:
        raise ValueError(str(error)) from None


Architecture = Annotated[str, AfterValidator(_known_architecture)]
