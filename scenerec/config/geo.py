"""The block of a config that lets a network read coordinates."""

from pydantic import model_validator

from scenerec.config.block import Block
from scenerec.models.geo import GeoSpec

_DEFAULT_SCALES = GeoSpec().scales


class GeoConfig(Block, GeoSpec):
    """How the network reads where a photograph was taken. Where that is unknown, it answers by the image alone."""

    @model_validator(mode="after")
    def _scales_are_of_multiscale(self) -> "GeoConfig":
        if self.encoding != "multiscale" and self.scales != _DEFAULT_SCALES:
            raise ValueError(f"scales: belongs to encoding multiscale, and it is {self.encoding}: leave it out")
        return self
