"""The client and the server's own HTTP interface understand each other."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import pytest
import uvicorn
from PIL import Image

from scenerec.client import BadImageError, Coordinates, EndpointError, UnauthorizedError, UnknownModelError, errors
from serve.access.keys import ApiKeys, Guard, new_key
from serve.api import Api
from serve.errors import ErrorKind
from serve.loaded_version import EngineOptions, load_version
from serve.shelf import Shelf, Weighted
from tests.tiny_bundle import IMAGE_SIZE, LABELS, make_tiny_bundle
from tests.tiny_shelf import make_tiny_shelf
from tests.unit.client.conftest import Ask

KEY, ENTRY = new_key("test")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(Api(make_tiny_shelf(tmp_path_factory.mktemp("served")), Guard(ApiKeys(keys=(ENTRY,))))) as url:
        yield url


@pytest.fixture(scope="module")
def located_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a model in which latitude adds to green, longitude to blue, and the time to red."""
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("located"), coordinates=True)
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(load_version("tiny", "1", bundle, EngineOptions()), 1.0)]})
    with running(Api(shelf)) as url:
        yield url


@contextmanager
def running(api: Api) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def photograph(colour: str, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(content, kind)
    return content.getvalue()


def test_a_photograph(url: str, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photograph("red", "JPEG"))
    found = ask(url, "predict", "tiny", tmp_path / "a.jpg", 2, api_key=KEY)
    assert (found.model, found.version, len(found.classes)) == ("tiny", "2", 2)
    assert found.classes[0].label == "red"
    assert found.classes[0].probability > 0.9
    assert len(found.request_id) == 32, "the one that the client gave"
    assert found.timings_ms.keys() >= {"total", "queued", "prepared", "inferred"}


def test_several(url: str, ask: Ask) -> None:
    colours = ["lime", "red", "blue", "red"]
    found = ask(url, "predict_many", "tiny", [photograph(colour) for colour in colours], api_key=KEY)
    assert [each.classes[0].label for each in found] == ["green", "red", "blue", "red"]
    assert len({each.request_id for each in found}) == 1


def test_a_version(url: str, ask: Ask) -> None:
    first, second = (
        ask(url, "predict", "tiny", photograph("red"), 5, False, version, api_key=KEY) for version in ("1", None)
    )
    assert (first.version, second.version) == ("1", "2")
    with pytest.raises(UnknownModelError, match="'9'"):
        ask(url, "predict", "tiny", photograph("red"), 5, False, "9", api_key=KEY)


def test_what_is_served(url: str, ask: Ask) -> None:
    (model,) = ask(url, "models", api_key=KEY)
    assert (model.name, model.label_count, model.image_size) == ("tiny", len(LABELS), IMAGE_SIZE)
    assert {version.version for version in model.versions} == {"1", "2"}
    assert ask(url, "ready") is True


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"not an image", 415), (b"", 400), (photograph("red", "JPEG")[:300], 400)],
    ids=["no image", "empty", "cut off"],
)
def test_a_bad_image(url: str, ask: Ask, content: bytes, status: int) -> None:
    with pytest.raises(BadImageError) as caught:
        ask(url, "predict", "tiny", content, api_key=KEY)
    assert (caught.value.status, len(caught.value.request_id)) == (status, 32)


def test_the_client_knows_no_code_that_the_server_does_not() -> None:
    assert errors._OF_CODE.keys() <= {kind.code for kind in ErrorKind}
    assert errors._OF_STATUS.keys() - {kind.status for kind in ErrorKind} == {403}, "a proxy's"


def test_what_else_is_refused(url: str, ask: Ask) -> None:
    for options in ({}, {"api_key": "another"}):
        with pytest.raises(UnauthorizedError):
            ask(url, "predict", "tiny", photograph("red"), **options)
    with pytest.raises(UnknownModelError, match="tiny"):
        ask(url, "predict", "photos", photograph("red"), api_key=KEY)
    with pytest.raises(EndpointError, match="top_k") as caught:
        ask(url, "predict", "tiny", photograph("red"), 0, api_key=KEY)
    assert caught.value.code == "bad_parameter"


def test_coordinates_are_understood_or_refused(located_url: str, ask: Ask) -> None:
    def label(coordinates: Coordinates | None) -> str:
        return ask(located_url, "predict", "tiny", photograph("red"), 1, False, None, coordinates).classes[0].label

    assert label(None) == "red"
    assert label(Coordinates(80, 20)) == "green"
    assert label(Coordinates(-80, 170, "2024-01-01")) == "blue"
    assert label(Coordinates(1, 1, datetime(2024, 7, 2, 12))) == label(Coordinates(1, 1, date(2024, 7, 2))) == "red"
    several = ask(located_url, "predict_many", "tiny", [photograph("red")] * 2, 1, False, None, Coordinates(80, 20))
    assert [each.classes[0].label for each in several] == ["green", "green"]
    with pytest.raises(EndpointError, match="lat is not between -90 and 90 degrees: are lat and lon swapped"):
        label(Coordinates(151.2, -33.9))
    (served,) = ask(located_url, "models")
    assert served.coordinates
