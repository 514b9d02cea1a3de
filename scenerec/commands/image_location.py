"""Where and when the images of a command were taken: as it was typed, or as their EXIF says it."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scenerec import client
from scenerec.errors import ConfigError

if TYPE_CHECKING:  # they import numpy and Pillow, which an endpoint's callers need not wait for
    import numpy as np

    from scenerec.data.coordinates import Coordinates
    from scenerec.inference.bundles.bundle import Bundle

_OPTIONS = ("--latitude", "--longitude", "--time")


@dataclass(frozen=True)
class ImageLocation:
    """What was typed of the images' coordinates."""

    given: "Coordinates | None" = None
    """Of all images; of one that has its own in its EXIF, where that is read, these are not used."""
    from_exif: bool = False

    @classmethod
    def typed(cls, latitude: str | None, longitude: str | None, time: str | None, from_exif: bool) -> "ImageLocation":
        """What these options say. Raises ConfigError that names the option."""
        if (latitude, longitude, time) == (None, None, None):
            return cls(None, from_exif)
        from scenerec.data.coordinates import given_coordinates

        try:
            return cls(given_coordinates(latitude, longitude, time, _OPTIONS), from_exif)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def check(self, bundle: "Bundle") -> None:
        """Raises ConfigError where coordinates are given for a bundle that reads none."""
        if (self.given or self.from_exif) and not bundle.info.takes_coordinates:
            option = "--latitude" if self.given else "--coordinates-from-exif"
            raise ConfigError(f"{option}: {bundle.url} does not read where a photograph was taken: leave it out")

    def array(self, image: str, content: bytes) -> "np.ndarray | None":
        """The coordinates of an image as a network takes them, float32 [1, 3]; None where they are not known."""
        if (found := self._of(image, content)) is None:
            return None
        from scenerec.data.coordinates import coordinates_array

        return coordinates_array([found])

    def of_request(self, image: str, content: bytes) -> client.Coordinates | None:
        """The coordinates of an image as an endpoint is sent them."""
        if (found := self._of(image, content)) is None:
            return None
        from scenerec.data.coordinates import iso_time

        return client.Coordinates(found.latitude, found.longitude, None if found.time is None else iso_time(found.time))

    def _of(self, image: str, content: bytes) -> "Coordinates | None":
        if not self.from_exif:
            return self.given
        from scenerec.data.exif import photograph_coordinates

        try:  # of what is no picture, whoever decodes it says so
            return photograph_coordinates(content) or self.given
        except ValueError as error:
            print(f"warning: {image}: EXIF: {error}", file=sys.stderr, flush=True)
            return self.given
