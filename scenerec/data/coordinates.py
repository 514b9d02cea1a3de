"""Where and when a photograph was taken: what a sample may say beside its image, and how networks are given it."""

import json
import math
from calendar import isleap
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

MOST_NORTH, MOST_EAST = 90, 180
"""Limits of latitude and longitude, to both sides of 0, in degrees."""
COORDINATES_SUFFIX = "json"
"""Suffix of the member of a shard that holds a sample's coordinates: `{"latitude": ..., "longitude": ...}`."""


class Coordinates(NamedTuple):
    """Where and perhaps when a photograph was taken.

    They are private: no log, and no error that may go into one, says them.
    """

    latitude: float
    """Degrees north, from -90 to 90."""
    longitude: float
    """Degrees east, from -180 to 180."""
    time: float | None = None
    """Share of the year that has passed, in [0, 1); None where it is not known."""

    @property
    def is_null_island(self) -> bool:
        """Whether they are (0, 0): a point in the Gulf of Guinea that programs write where nothing is known."""
        return self.latitude == self.longitude == 0


class NetworkCoordinates(NamedTuple):
    """Coordinates as networks and ONNX graphs take them, as the inputs of the same names."""

    values: np.ndarray
    """Latitude, longitude and time, float32 [n, 3]; 0 where not known."""
    known: np.ndarray
    """1 where the place is known, and where the time is, else 0; float32 [n, 2]."""


def given_coordinates(
    latitude: object, longitude: object, time: object, names: tuple[str, ...] = Coordinates._fields
) -> Coordinates | None:
    """The coordinates that somebody gives: degrees as numbers or text, the time as an ISO date; None where nothing is.

    None and empty text stand for what is not given. Raises ValueError, which names the field as `names` do but not its
    value, for what is not possible.
    """
    latitude, longitude, time = (
        None if isinstance(each, str) and not each.strip() else each for each in (latitude, longitude, time)
    )
    if latitude is None and longitude is None:
        if time is not None:
            raise ValueError(f"{names[2]} is given without {names[0]} and {names[1]}")
        return None
    if latitude is None or longitude is None:
        raise ValueError(f"{names[0]} and {names[1]} come together or not at all")
    place = parse_degrees(names[0], latitude), parse_degrees(names[1], longitude)
    return check_coordinates(Coordinates(*place, None if time is None else parse_time(time, names[2])), names)


def check_coordinates(coordinates: Coordinates, names: tuple[str, ...] = Coordinates._fields) -> Coordinates:
    """The coordinates themselves. Raises ValueError as `given_coordinates` does.

    Of such as would be right with latitude and longitude exchanged, it asks that.
    """
    latitude, longitude, time = coordinates
    for name, degrees, limit in zip(names, (latitude, longitude), (MOST_NORTH, MOST_EAST), strict=False):
        if not -limit <= degrees <= limit:
            swapped = f": are {names[0]} and {names[1]} swapped?" if are_swapped(latitude, longitude) else ""
            raise ValueError(f"{name} is not between -{limit} and {limit} degrees{swapped}")
    if time is not None and not 0 <= time < 1:
        raise ValueError(f"{names[2]} is not a share of the year, from 0 to below 1")
    return coordinates


def are_swapped(latitude: float, longitude: float) -> bool:
    """Whether two numbers are degrees only if they are exchanged."""
    return MOST_NORTH < abs(latitude) <= MOST_EAST and abs(longitude) <= MOST_NORTH


def share_of_year(moment: datetime) -> float:
    """How much of its year has passed, in [0, 1), by its own clock and to the minute."""
    minutes = (moment.replace(tzinfo=None) - datetime(moment.year, 1, 1)) // timedelta(minutes=1)
    return minutes / (_MINUTES_OF_A_DAY * (366 if isleap(moment.year) else 365))


def parse_time(text: object, name: str = "time") -> float:
    """The share of the year of an ISO 8601 date, with or without a time: `2024-06-21`, `2024-06-21T14:30:00+02:00`.

    Raises ValueError, which names the field, not its value.
    """
    try:
        return share_of_year(datetime.fromisoformat(str(text).strip()))
    except ValueError:
        raise ValueError(f"{name} is not an ISO date such as 2024-06-21 or 2024-06-21T14:30") from None


def iso_time(share: float) -> str:
    """An ISO date and time, to the minute, in a common year of which so much has passed: `parse_time`'s inverse."""
    minutes = min(round(share * 365 * _MINUTES_OF_A_DAY), 365 * _MINUTES_OF_A_DAY - 1)
    return (_COMMON_NEW_YEAR + timedelta(minutes=minutes)).isoformat()


def parse_degrees(name: str, given: object) -> float:
    """The degrees that a number or text says, whatever their limits.

    Raises ValueError, which names the field, not its value.
    """
    degrees = math.nan
    if isinstance(given, (int, float, str)) and not isinstance(given, bool):
        with suppress(ValueError, OverflowError):
            degrees = float(given)
    if not math.isfinite(degrees):
        raise ValueError(f"{name} is not a number of degrees, such as 52.52")
    return degrees


def encode_coordinates(coordinates: Coordinates) -> bytes:
    """What a shard holds of a sample's coordinates."""
    return json.dumps({name: value for name, value in coordinates._asdict().items() if value is not None}).encode()


def decode_coordinates(content: bytes) -> Coordinates:
    """The coordinates that `encode_coordinates` wrote. Raises ValueError, which does not say them, for others."""
    try:
        fields = json.loads(content)
        time = fields.get("time")
        place = float(fields["latitude"]), float(fields["longitude"])
        return check_coordinates(Coordinates(*place, None if time is None else float(time)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("has no latitude and longitude") from None


def coordinates_array(coordinates: Sequence[Coordinates | None]) -> np.ndarray:
    """Latitude, longitude and time of samples, float32 [n, 3]; NaN where not known."""
    rows = [each or _UNKNOWN for each in coordinates]
    return np.array(rows, dtype=np.float32).reshape(-1, len(_UNKNOWN))


def network_coordinates(coordinates: np.ndarray) -> NetworkCoordinates:
    """Coordinates float32 [n, 3] with NaN where not known, as networks take them."""
    known = ~np.isnan(coordinates)
    place, time = known[:, :2].all(axis=1), known[:, 2]
    values = np.where(np.stack([place, place, time], axis=1), coordinates, 0)
    return NetworkCoordinates(values.astype(np.float32), np.stack([place, time], axis=1).astype(np.float32))


_UNKNOWN = (None, None, None)
_MINUTES_OF_A_DAY = 24 * 60
_COMMON_NEW_YEAR = datetime(2023, 1, 1)
