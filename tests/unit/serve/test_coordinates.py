"""Coordinates in forms and in JSON, of a model in which latitude adds to green, longitude to blue, the time to red."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.access_record import AccessRecord
from serve.api import Api
from serve.loaded_version import EngineOptions, LoadedVersion, load_version
from serve.shelf import Shelf, Weighted
from tests.tiny_bundle import make_tiny_bundle
from tests.unit.serve.test_api import PREDICT, ask, error, labels, picture

NORTH = {"lat": "77.654321", "lon": "12.123456"}


@pytest.fixture(scope="module")
def located(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("located"), coordinates=True)
    return load_version("tiny", "4", bundle, EngineOptions())


@pytest.fixture
def records() -> list[AccessRecord]:
    return []


@pytest.fixture
def api(located: LoadedVersion, records: list[AccessRecord]) -> Api:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(located, 1.0)]})
    return Api(shelf, observe=records.append)


def form(api: Api, fields: Mapping[str, str], *colours: str) -> httpx.Response:
    files = [("image", (each, picture(each))) for each in colours or ("red",)]
    return ask(api, "POST", PREDICT, files=files, data=fields)


def in_json(api: Api, **fields: object) -> httpx.Response:
    images = [base64.b64encode(picture("red")).decode()]
    return ask(api, "POST", PREDICT, json={"images": images, **fields})


def test_fields_of_a_form_and_keys_of_json_are_of_all_pictures(api: Api) -> None:
    assert labels(form(api, {})) == labels(in_json(api)) == ["red"]
    assert labels(form(api, NORTH, "red", "blue")) == ["green", "green"]
    assert labels(in_json(api, lat=77.654321, lon=12)) == ["green"]
    assert labels(form(api, {"lat": "-80", "lon": "170"}, "lime")) == ["blue"]
    assert labels(form(api, {"lat": "1", "lon": "1", "time": "2023-07-02T12:00"}, "lime")) == ["red"]
    assert labels(in_json(api, lat=1, lon=90, time="2023-01-01")) == ["blue"]
    assert labels(ask(api, "POST", PREDICT, content=picture("red"))) == ["red"]


def test_a_picture_may_be_called_as_a_field_is(api: Api) -> None:
    files = [("lat", ("a.png", picture("red"))), ("time", ("b.png", picture("blue")))]
    assert labels(ask(api, "POST", PREDICT, files=files)) == ["red", "blue"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lat": "97.654321", "lon": "121"}, "lat is not between -90 and 90 degrees"),
        ({"lat": "97.654321", "lon": "7"}, "lat is not between -90 and 90 degrees: are lat and lon swapped?"),
        ({"lat": "7", "lon": "-197.654321"}, "lon is not between -180 and 180 degrees"),
        ({"lat": "97.654321N", "lon": "7"}, "lat is not a number of degrees, such as 52.52"),
        ({"lat": "nan", "lon": "7"}, "lat is not a number of degrees, such as 52.52"),
        ({"lat": "97.654321" * 900, "lon": "7"}, "lat is not a number of degrees, such as 52.52"),
        ({"lat": "7"}, "lat and lon come together or not at all"),
        ({"time": "2023-07-02"}, "time is given without lat and lon"),
        ({"lat": "7", "lon": "7", "time": "97.654321"}, "time is not an ISO date such as 2024-06-21 or"),
    ],
)
def test_impossible_ones_are_refused_by_their_field(
    api: Api, fields: dict[str, str], message: str, records: list[AccessRecord]
) -> None:
    response = form(api, fields)
    assert error(response) == (400, "bad_parameter")
    assert response.json()["error"].startswith(message)
    assert "97.65" not in response.text and "97.65" not in repr(records)


@pytest.mark.parametrize("fields", [{"lat": None}, {"lat": "7", "lon": 7}, {"time": 7}])
def test_json_has_numbers_and_a_text(api: Api, fields: dict[str, object]) -> None:
    response = in_json(api, **fields)
    assert error(response) == (400, "bad_parameter")
    assert ": must be " in response.json()["error"]


def test_a_field_that_stands_twice_is_refused(api: Api) -> None:
    files: list[Any] = [("lat", (None, "1")), ("lat", (None, "2")), ("image", ("a", picture()))]
    response = ask(api, "POST", PREDICT, files=files)
    assert error(response) == (400, "bad_parameter") and "stands twice" in response.text
    assert error(ask(api, "POST", PREDICT, files=[("lat", (None, "1"))])) == (400, "empty_body")


def test_they_are_in_no_record_no_log_and_not_taken_from_addresses(
    api: Api, records: list[AccessRecord], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    response = form(api, {**NORTH, "time": "2021-11-13T14:15:16"})
    refused = ask(api, "POST", PREDICT, content=picture(), params=NORTH)
    assert error(refused) == (400, "bad_parameter")
    assert "lat: goes into a form or into JSON: addresses are kept in logs" in refused.text
    assert len(records) == 2 and records[0].images == 1
    told = [response.text, refused.text, repr(records), *response.headers.values()]
    told += [message for message in caplog.messages if "httpx" not in message and "HTTP Request" not in message]
    assert not [each for each in told if "77.65" in each or "12.12" in each or "14:15" in each]


def test_models_tell_whether_they_read_them_and_others_pass_over_them(api: Api, tmp_path: Path) -> None:
    assert ask(api, "GET", "/v1/models/tiny").json()["coordinates"] is True
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(load_version("tiny", "3", make_tiny_bundle(tmp_path), EngineOptions()), 1.0)]})
    plain = Api(shelf)
    assert ask(plain, "GET", "/v1/models/tiny").json()["coordinates"] is False
    assert labels(form(plain, NORTH)) == ["red"]
