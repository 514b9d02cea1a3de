from collections.abc import Callable
from typing import Any

import pytest

from scenerec.data.coordinates import Coordinates
from scenerec.data.exif import exif_coordinates
from scenerec.data.picture import Picture
from tests.unit.data.conftest import photograph

Encode = Callable[..., bytes]
BERLIN = (52.0, 31.0, 12.0), (13.0, 24.0, 18.0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_place_and_time_of_a_photograph(form: str) -> None:
    found = exif_coordinates(Picture(photograph(*BERLIN, "N", "E", "2023:07:02 12:00:00", form=form)))
    assert found == Coordinates(pytest.approx(52.52), pytest.approx(13.405), 0.5)


@pytest.mark.parametrize(("letters", "signs"), [("NW", (1, -1)), ("SE", (-1, 1)), ("sw", (-1, -1))])
def test_the_letters_are_signs(letters: str, signs: tuple[int, int]) -> None:
    found = exif_coordinates(Picture(photograph(*BERLIN, *letters)))
    assert found == Coordinates(pytest.approx(signs[0] * 52.52), pytest.approx(signs[1] * 13.405))


@pytest.mark.parametrize("time", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", "2023-07-02"])
def test_a_clock_that_was_not_set_tells_no_time(time: str) -> None:
    found = exif_coordinates(Picture(photograph(*BERLIN, "N", "E", time)))
    assert found is not None and found.time is None


def test_there_are_none_where_no_place_is_given(encode: Encode) -> None:
    assert exif_coordinates(Picture(encode())) is None
    assert exif_coordinates(Picture(photograph(None, None, "N", "E", "2023:07:02 12:00:00"))) is None
    assert exif_coordinates(Picture(photograph(BERLIN[0], None, "N", "E"))) is None
    damaged = photograph(*BERLIN).replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\0!")
    assert exif_coordinates(Picture(damaged)) is None


@pytest.mark.parametrize(
    ("latitude", "longitude", "letters"),
    [
        ((152.0, 31.0, 12.0), BERLIN[1], "NE"),
        (BERLIN[0], (181.0, 0.0, 0.0), "NE"),
        (BERLIN[0], BERLIN[1], "N?"),
        (BERLIN[0], BERLIN[1], "\0E"),
        ((52.0, 31.0), BERLIN[1], "NE"),
        ((52.0, 90.0, 12.0), BERLIN[1], "NE"),
        (BERLIN[0], (13.0, 24.0, 61.0), "NE"),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), "NE"),
    ],
)
def test_impossible_ones_are_refused_without_saying_them(latitude: Any, longitude: Any, letters: str) -> None:
    with pytest.raises(ValueError) as caught:
        exif_coordinates(Picture(photograph(latitude, longitude, *letters)))
    assert str(caught.value).startswith(("latitude", "longitude"))
    assert not any(number in str(caught.value) for number in ("52", "31", "152", "181", "13"))
