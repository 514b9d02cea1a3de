import json
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.coordinates import (
    Coordinates,
    check_coordinates,
    coordinates_array,
    decode_coordinates,
    encode_coordinates,
    given_coordinates,
    iso_time,
    network_coordinates,
    parse_degrees,
    parse_time,
    share_of_year,
)

SHARES = st.none() | st.floats(0, 1, exclude_max=True)
COORDINATES = st.builds(Coordinates, st.floats(-90, 90), st.floats(-180, 180), SHARES)


@given(COORDINATES)
def test_what_a_shard_holds_is_what_was_packed(coordinates: Coordinates) -> None:
    assert decode_coordinates(encode_coordinates(coordinates)) == coordinates == check_coordinates(coordinates)
    assert set(json.loads(encode_coordinates(coordinates))) >= {"latitude", "longitude"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1, 2]",
        b"null",
        b'{"latitude": 1}',
        b'{"latitude": "x", "longitude": 2}',
        b'{"latitude": 91, "longitude": 2}',
        b'{"latitude": NaN, "longitude": 2}',
        b"[" * 99999,
        b"\xff",
    ],
)
def test_what_are_no_coordinates_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^has no latitude and longitude$"):
        decode_coordinates(content)


@pytest.mark.parametrize(
    ("coordinates", "expected"),
    [
        (Coordinates(151.2, -33.9), "latitude is not between -90 and 90 degrees: are latitude and longitude swapped?"),
        (Coordinates(151.2, 100), "latitude is not between -90 and 90 degrees"),
        (Coordinates(12, -180.5), "longitude is not between -180 and 180 degrees"),
        (Coordinates(float("nan"), 1), "latitude is not between -90 and 90 degrees"),
        (Coordinates(1, 2, 1.0), "time is not a share of the year, from 0 to below 1"),
    ],
)
def test_impossible_ones_are_told_by_field_and_not_by_value(coordinates: Coordinates, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_coordinates(coordinates)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("2023-01-01", 0),
        ("2023-07-02T12:00", 0.5),
        ("2024-07-02T00:00:00+09:00", 0.5),
        ("2023-12-31T23:59:59.999", 525599 / 525600),
        ("2024-12-31 23:59", 527039 / 527040),
    ],
)
def test_a_time_is_the_share_of_its_year(text: str, share: float) -> None:
    assert parse_time(text) == share


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "31.12.2024", "0.5"])
def test_what_is_no_time_is_not_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time is not an ISO date such as 2024-06-21 or 2024-06-21T14:30$"):
        parse_time(text)


@pytest.mark.parametrize("text", ["north", "", "nan", "inf", "52°31'"])
def test_degrees_are_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=r"^latitude is not a number of degrees, such as 52\.52$"):
        parse_degrees("latitude", text)


@given(st.datetimes(), st.datetimes())
def test_later_in_a_year_is_more_of_it(one: datetime, other: datetime) -> None:
    other = other.replace(year=one.year, day=min(other.day, 28))
    first, last = sorted((one, other))
    assert 0 <= share_of_year(first) <= share_of_year(last) < 1
    assert np.float32(share_of_year(last)) < 1


@given(st.lists(st.none() | COORDINATES, max_size=5))
def test_networks_get_zeros_and_a_mask_for_what_is_not_known(samples: list[Coordinates | None]) -> None:
    array = coordinates_array(samples)
    assert (array.shape, array.dtype) == ((len(samples), 3), np.float32)
    values, known = network_coordinates(array)
    assert (values.shape, known.shape) == (array.shape, (len(array), 2))
    assert values.dtype == known.dtype == np.float32
    for sample, row, mask in zip(samples, values, known, strict=True):
        latitude, longitude, time = sample or (0, 0, None)
        assert row.tolist() == np.array([latitude, longitude, time or 0], np.float32).tolist()
        assert mask.tolist() == [sample is not None, time is not None]


def test_half_a_place_is_none() -> None:
    values, known = network_coordinates(np.array([[12, np.nan, 0.25]], np.float32))
    assert (values.tolist(), known.tolist()) == ([[0, 0, 0.25]], [[0, 1]])


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_what_is_not_given_is_none(nothing: str | None) -> None:
    assert given_coordinates(nothing, nothing, nothing) is None
    assert given_coordinates("12.5", -7, nothing) == Coordinates(12.5, -7)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1, None, None), "lat and lon come together or not at all"),
        ((None, None, "2024-06-21"), "when is given without lat and lon"),
        ((True, 2, None), "lat is not a number of degrees, such as 52.52"),
        (([1], 2, None), "lat is not a number of degrees, such as 52.52"),
        ((10**400, 2, None), "lat is not a number of degrees, such as 52.52"),
        ((1, 181.0, None), "lon is not between -180 and 180 degrees"),
        ((120, 45, None), "lat is not between -90 and 90 degrees: are lat and lon swapped?"),
        ((1, 2, 0.5), "when is not an ISO date such as 2024-06-21 or 2024-06-21T14:30"),
    ],
)
def test_what_is_given_is_refused_by_the_names_of_its_fields(given: tuple[Any, Any, Any], expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        given_coordinates(*given, names=("lat", "lon", "when"))
    assert str(caught.value) == expected


@given(st.floats(0, 1, exclude_max=True))
def test_a_time_goes_there_and_back_to_the_minute(share: float) -> None:
    assert parse_time(iso_time(share)) == pytest.approx(share, abs=1.01 / 525600)
    assert iso_time(parse_time(iso_time(share))) == iso_time(share)
