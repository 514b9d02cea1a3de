"""Where and when a camera says that a photograph was taken (EXIF 2.32, GPS and DateTimeOriginal)."""

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from PIL import ExifTags

from scenerec.data.coordinates import Coordinates, check_coordinates, share_of_year
from scenerec.data.picture import Picture, PictureError

_SIGNS = {"N": 1, "S": -1, "E": 1, "W": -1}
_DATE_FORMAT = "%Y:%m:%d %H:%M:%S"


def exif_coordinates(picture: Picture) -> Coordinates | None:
    """The coordinates in a photograph's EXIF, with the time where it has one; None where it has no place.

    Raises ValueError, which does not say them, for impossible ones.
    """
    gps, details = _ifd(picture, ExifTags.IFD.GPSInfo), _ifd(picture, ExifTags.IFD.Exif)
    latitude = _degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef)
    longitude = _degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef)
    if latitude is None or longitude is None:
        return None
    if latitude == longitude == 0:
        raise ValueError("latitude and longitude are 0, which cameras write that do not know where they are")
    return check_coordinates(Coordinates(latitude, longitude, _time(details)))


def photograph_coordinates(content: bytes) -> Coordinates | None:
    """The coordinates in the EXIF of an encoded photograph, as `exif_coordinates`; None for what is no picture."""
    try:
        return exif_coordinates(Picture(content))
    except PictureError:
        return None


def _ifd(picture: Picture, ifd: ExifTags.IFD) -> Mapping[int, Any]:
    with suppress(Exception):  # damaged EXIF does not make a bad picture
        return picture.exif.get_ifd(ifd)
    return {}


def _degrees(gps: Mapping[int, Any], tag: int, sign_tag: int) -> float | None:
    """Degrees of degrees, minutes and seconds, and of the letter beside them; None where they are not given."""
    if tag not in gps:
        return None
    sign = _SIGNS.get(str(gps.get(sign_tag, "")).strip("\0 ").upper())
    try:
        degrees, minutes, seconds = map(float, gps[tag])
        is_angle = degrees >= 0 and 0 <= minutes <= 60 and 0 <= seconds <= 60  # 60 as some round
        found = (degrees + minutes / 60 + seconds / 3600) * (sign or math.nan) if is_angle else math.nan
    except (ValueError, TypeError, ZeroDivisionError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(
            "latitude or longitude is no angle of degrees, minutes and seconds with its letter (N, S, E, W)"
        )
    return found


def _time(details: Mapping[int, Any]) -> float | None:
    """The share of the year of DateTimeOriginal: the camera's own clock."""
    text = str(details.get(ExifTags.Base.DateTimeOriginal, "")).strip("\0 ")
    with suppress(ValueError):  # cameras whose clock was not set write zeros
        return share_of_year(datetime.strptime(text, _DATE_FORMAT))
    return None
