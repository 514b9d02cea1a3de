"""Licences of weights: what published weights may be used for."""

import os
from dataclasses import dataclass

from scenerec.errors import ModelError


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
    asks_acceptance: bool = False
    """Whether their owner asks that the terms are accepted before the weights are used."""

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
        "https://creativecommons.org/licenses/by-nc/4.0/",
        False,
        "Meta hands its weights on so: SWAG's, which torchvision offers, and those of ConvNeXt V2 and Hiera.",
    ),
    Licence(
        "fair-noncommercial-research-license",
        "https://huggingface.co/facebook/fair-noncommercial-research-license",
        False,
        "Meta hands some weights on so, by the name that timm gives it: for research that is not commercial.",
    ),
    Licence(
        "CC-BY",
        "https://github.com/CSAILVision/places365",
        True,
        "The Places365 project asks for credit; the copyright of its pictures is their owners'.",
    ),
    Licence(
        "Apache-2.0",
        "https://www.apache.org/licenses/LICENSE-2.0",
        True,
        "It is that of the weights; whether the terms of the pictures that they were trained on bind their users is "
        "left to these.",
    ),
    Licence(
        "MIT",
        "https://opensource.org/license/mit",
        True,
        "It is that of the weights; whether the terms of the pictures that they were trained on bind their users is "
        "left to these.",
    ),
    Licence(
        "DINOv3",
        "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
        True,
        "Meta asks everybody to read and accept it before the weights are used; it excludes some uses, and goes along "
        "with what is made of the weights.",
        asks_acceptance=True,
    ),
)

LICENCES: dict[str, Licence] = {licence.name: licence for licence in _TABLE}
"""Licences of published weights, by name."""


def describe_licence(name: str) -> str:
    """Returns a licence in words, with a warning where it forbids commercial use; "" for one that is not known."""
    return str(LICENCES[name]) if name in LICENCES else name


ACCEPTING_VARIABLE = "SCENEREC_ACCEPT_LICENCE"
"""Environment variable with the names of licences that are accepted, between commas."""


def accept_licences() -> None:
    """Accepts, in this process, every licence whose owner asks for that."""
    os.environ[ACCEPTING_VARIABLE] = ",".join(name for name, licence in LICENCES.items() if licence.asks_acceptance)


def check_accepted(name: str, accepted: bool, where: str, key: str = "") -> None:
    """Makes sure that a licence is accepted whose owner asks for that: by `accepted`, or by the environment.

    Raises ModelError, which begins with `where`, and names the `key` of the file that accepts, where there is one.
    """
    licence = LICENCES.get(name)
    if licence is None or not licence.asks_acceptance or accepted:
        return
    if name in map(str.strip, os.environ.get(ACCEPTING_VARIABLE, "").split(",")):
        return
    raise ModelError(
        f"{where}: their owner asks that you read and accept the licence {name} ({licence.url}) before you use them: "
        f"then add --accept-licence to `scenerec submit`, {f'set {key}: true, ' if key else ''}or set "
        f"{ACCEPTING_VARIABLE}={name} in the environment"
    )


def forbids_commercial_use(name: str) -> bool:
    """Whether the licence of this name is known to forbid commercial use."""
    return name in LICENCES and not LICENCES[name].commercial_use
