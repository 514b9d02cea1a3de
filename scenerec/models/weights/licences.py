"""Licences of weights: what published weights may be used for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """Terms under which weights are handed on."""

    name: str
    """Identifier of SPDX, or that of a family of licences."""
    url: str
    """Where the terms are."""
    commercial_use: bool
    """Whether the terms allow commercial use."""
    note: str
    """What else is to be known, in a sentence."""

    def __str__(self) -> str:
        return self.name if self.commercial_use else f"{self.name}: NOT FOR COMMERCIAL USE"


_TABLE = (
    Licence(
        "BSD-3-Clause",
        "https://github.com/pytorch/vision/blob/main/LICENSE",
        True,
        "The licence is torchvision's; the weights were trained on ImageNet, whose pictures are for research and "
        "education alone, and torchvision leaves to its users whether that binds them.",
    ),
    Licence(
        "CC-BY-NC-4.0",
        "https://github.com/facebookresearch/SWAG/blob/main/LICENSE",
        False,
        "These are SWAG's weights, which torchvision offers under their own licence.",
    ),
    Licence(
        "CC-BY",
        "https://github.com/CSAILVision/places365",
        True,
        "The Places365 project asks for credit; the copyright of its pictures is their owners'.",
    ),
)

LICENCES: dict[str, Licence] = {licence.name: licence for licence in _TABLE}
"""Licences of published weights, by name."""


def describe_licence(name: str) -> str:
    """Returns a licence in words, with a warning where it forbids commercial use; "" for one that is not known."""
    return str(LICENCES[name]) if name in LICENCES else name


def forbids_commercial_use(name: str) -> bool:
    """Whether the licence of this name is known to forbid commercial use."""
    return name in LICENCES and not LICENCES[name].commercial_use
