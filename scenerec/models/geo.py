"""How a network reads coordinates beside the image: as data, and the encoding of coordinates in NumPy, without torch.

`torch_geo` is the network itself; its Keras twin is traced from it. The inputs are `coordinates`, float32 [n, 3]:
degrees north, degrees east, share of the year, 0 where unknown; and `known`, float32 [n, 2]: 1 where the place, and
where the time, is known.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from scenerec.errors import ModelError
from scenerec.frozen import Frozen
from scenerec.models.zoo import more_of_timm

PATH = "geo"
"""Path of the module that reads coordinates, beside torchvision's own modules."""
ENCODING_PATH = f"{PATH}.encoding"
"""Path of the module that encodes them."""
COORDINATES = "coordinates"
"""Name of the input with the coordinates."""
KNOWN = "known"
"""Name of the input that says which coordinates are known."""

_LATITUDE, _LONGITUDE, _TIME = range(3)
_PLACE_KNOWN, _TIME_KNOWN = range(2)


class GeoSpec(Frozen):
    """The part of a network that reads coordinates. Where the place is unknown, it adds and changes nothing."""

    encoding: Literal["wrapped", "multiscale"] = "wrapped"
    """How coordinates become features: `wrapped`: sine and cosine once around the globe (Mac Aodha et al. 2019), for
    differences between climates and continents; `multiscale`: at `scales` wavelengths, each half of the one before
    (Space2Vec's grid, Mai et al. 2020), for differences between regions and towns."""
    scales: int = Field(8, ge=2, le=16)
    """`multiscale`: number of wavelengths, from 360 degrees: 8 end at 2.8 degrees (310 km), 12 at 0.18 (20 km)."""
    time: bool = False
    """Read the time of the year, too."""
    fusion: Literal["logits", "concat", "modulate"] = "logits"
    """How they meet the image: `logits`: the place's logits are added to the image's, a prior over classes (Mac Aodha
    et al. 2019); `concat`: image features and place features side by side, through a layer, before the head;
    `modulate`: the image features are scaled and shifted by the place (FiLM, as Chu et al. 2019)."""
    width: int = Field(256, ge=1, le=4096)
    """Width of the residual network that reads the features."""
    blocks: int = Field(4, ge=0, le=64)
    """Residual blocks of that network, of two layers each."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the values that each of these blocks drops in training."""

    def check_suits(self, arch: str) -> None:
        """Raises ModelError for an architecture whose head this fusion cannot stand before."""
        timms = more_of_timm().get(arch)
        convolves = timms.conv_head if timms else arch.startswith("squeezenet")
        if self.fusion != "logits" and convolves:
            raise ModelError(f"{self.fusion} needs a linear head, and {arch}'s is a convolution: take logits")


@dataclass(frozen=True)
class EncodingTables:
    """What an encoding takes from which input: k turns, of each of which there are a sine and a cosine.

    Attributes:
        columns: column of `coordinates` that each turn is of, int64 [k].
        masks: column of `known` that says whether it is known, int64 [k].
        frequencies: turns per unit of the coordinate, float32 [k].
    """

    columns: np.ndarray
    masks: np.ndarray
    frequencies: np.ndarray

    @property
    def features(self) -> int:
        """Number of features, 2 k."""
        return 2 * len(self.columns)


def encoding_tables(spec: GeoSpec) -> EncodingTables:
    """The tables of a spec's encoding.

    `wrapped` takes sin(pi x) and cos(pi x) of x = latitude / 90, longitude / 180 (Mac Aodha et al. 2019, section 3.3;
    of the time sin and cos of 2 pi t, which is as theirs but for the sign). `multiscale` takes sin and cos of
    x / (lambda_min g^(s / (S - 1))), s = 0 ... S - 1, of latitude and longitude (Mai et al. 2020, the "grid" encoder),
    whose longest wavelength is 360 degrees and whose others are a half, a quarter, ... of it (g = 2^(S - 1)): so all
    of them close at the date line.
    """
    if spec.encoding == "wrapped":
        turns = [(_LATITUDE, 1 / 180), (_LONGITUDE, 1 / 360)]
    else:
        turns = [(column, 2**s / 360) for column in (_LATITUDE, _LONGITUDE) for s in range(spec.scales)]
    turns += [(_TIME, 1.0)] if spec.time else []
    columns = np.array([column for column, _ in turns], np.int64)
    masks = np.where(columns == _TIME, _TIME_KNOWN, _PLACE_KNOWN)
    return EncodingTables(columns, masks, np.array([frequency for _, frequency in turns], np.float32))


def encode(spec: GeoSpec, coordinates: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The features of coordinates float32 [n, 3], known float32 [n, 2]: float32 [n, 2 k], 0 where unknown.

    Whole turns are taken off first, exactly: sine and cosine are then as good at every scale, in every framework.
    """
    tables = encoding_tables(spec)
    turns = coordinates[:, tables.columns] * tables.frequencies
    angles = (turns - np.rint(turns)) * np.float32(2 * np.pi)
    mask = known[:, tables.masks]
    return np.concatenate([np.sin(angles) * mask, np.cos(angles) * mask], axis=1)
