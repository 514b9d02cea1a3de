import json
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.commands.endpoint import IN_FLIGHT
from tests.patience import PATIENCE_S
from tests.unit.client.endpoint import PATH, one, predicted, refused
from tests.unit.data.conftest import photograph
from tests.web import Answer, Request, WebServer


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", "-m", "photos", *map(str, arguments)])


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "photographs" / f"{name}.jpg" for name in "abcd"]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(file.name.encode())
    return files


def test_a_folder_is_named_image_by_image(web: WebServer, photographs: list[Path]) -> None:
    web.serve(PATH, predicted(one("beach", "pier")))
    result = run(photographs[0].parent, "--endpoint", web.url, "-k", 2)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{file}: beach 50.0%, pier 25.0%" for file in photographs]
    assert result.stderr == ""
    assert sorted(request.body for request in web.received) == [b"a.jpg", b"b.jpg", b"c.jpg", b"d.jpg"]
    assert all(request.path.endswith("?top_k=2") for request in web.received)


def test_json_tells_who_answered(web: WebServer, photographs: list[Path]) -> None:
    web.serve(PATH, predicted(one("beach", indoor_outdoor="outdoor", category=["nature"])))
    result = run(photographs[0], "--endpoint", web.url, "--json")
    assert json.loads(result.stdout) == {
        "image": str(photographs[0]),
        "predictions": [{"label": "beach", "probability": 0.5}],
        "model": "photos",
        "version": "3",
        "request_id": "of-the-answer",
        "indoor_outdoor": "outdoor",
        "category": ["nature"],
    }
    assert run(photographs[0], "--endpoint", web.url).stdout == f"{photographs[0]}: beach 50.0% (outdoor; nature)\n"


def test_a_model_of_features_tells_numbers(web: WebServer, photographs: list[Path]) -> None:
    web.serve(PATH, predicted(one(embedding=[3.0, 4.0])))
    assert run(photographs[0], "--endpoint", web.url).stdout == (
        f"{photographs[0]}: 2 numbers, of length 5.000 (--json tells them)\n"
    )
    told = json.loads(run(photographs[0], "--endpoint", web.url, "--json").stdout)
    who = {"model": "photos", "version": "3", "request_id": "of-the-answer"}
    assert told == {"image": str(photographs[0]), "embedding": [3.0, 4.0], **who}


def test_several_are_in_flight_and_told_in_order(web: WebServer, tmp_path: Path) -> None:
    """The server holds back the first ones until the others are answered, and always as many as may be in flight."""
    files = [tmp_path / f"{n:02}.jpg" for n in range(2 * IN_FLIGHT)]
    for file in files:
        file.write_bytes(file.stem.encode())
    last_is_there = threading.Event()

    def answer(request: Request) -> Answer:
        if int(request.body) == len(files) - 1:
            last_is_there.set()
        if int(request.body) < IN_FLIGHT - 1:
            assert last_is_there.wait(PATIENCE_S)
        return predicted(one(f"scene-{request.body.decode()}"))

    web.serve(PATH, answer)
    result = run(*files, "--endpoint", web.url, "-k", 1)
    assert result.stdout.splitlines() == [f"{file}: scene-{file.stem} 50.0%" for file in files]


def test_no_more_are_in_flight_than_that(web: WebServer, tmp_path: Path) -> None:
    files = [tmp_path / f"{n:02}.jpg" for n in range(4 * IN_FLIGHT)]
    for file in files:
        file.write_bytes(b"content")
    lock, now, most = threading.Lock(), 0, 0
    all_are_there = threading.Event()

    def answer(_: Request) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == IN_FLIGHT:
                all_are_there.set()
        assert all_are_there.wait(PATIENCE_S)
        time.sleep(0.02)  # so that there is time for more
        with lock:
            now -= 1
        return predicted(one("beach"))

    web.serve(PATH, answer)
    assert run(*files, "--endpoint", web.url).exit_code == 0
    assert most == IN_FLIGHT


def test_what_fails_is_named_and_the_others_go_on(web: WebServer, photographs: list[Path], tmp_path: Path) -> None:
    web.serve(
        PATH, lambda request: refused(400, "damaged_image") if request.body == b"b.jpg" else predicted(one("beach"))
    )
    result = run(tmp_path / "gone.jpg", *photographs[:2], f"{web.url}/gone", photographs[2], "--endpoint", web.url)
    assert result.exit_code == 4
    told = [line.partition(": ")[0] for line in result.stdout.splitlines()]
    assert told == [str(photographs[0]), str(photographs[2])]
    gone, damaged, missing = result.stderr.splitlines()
    assert damaged == f"error: {photographs[1]}: damaged_image: remedy"
    assert gone == f"error: {tmp_path}/gone.jpg: cannot be read: No such file or directory"
    assert missing.startswith(f"error: {web.url}/gone: cannot be read: 404")


def test_the_client_fetches_addresses_itself(web: WebServer) -> None:
    web.serve(PATH, predicted(one("beach")))
    address = web.serve("/holiday.jpg", b"a photograph")
    assert run(address, "--endpoint", web.url).stdout == f"{address}: beach 50.0%\n"
    assert [(request.method, request.body) for request in web.received] == [("GET", b""), ("POST", b"a photograph")]


def test_a_failing_replica_is_asked_again(web: WebServer, photographs: list[Path]) -> None:
    web.serve(PATH, Answer(hangs_up=True), refused(503, "overloaded", {"Retry-After": "0"}), predicted(one("beach")))
    result = run(photographs[0], "--endpoint", web.url)
    assert (result.exit_code, result.stdout) == (0, f"{photographs[0]}: beach 50.0%\n")
    assert len(web.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        refused(401, "unauthorized"),
        refused(404, "unknown_model"),
        refused(400, "bad_parameter"),
        Answer(b"<html>", 404),
        Answer(b"<html>hello"),
    ],
    ids=["key", "model", "parameter", "another server", "a web page"],
)
def test_what_concerns_all_images_is_told_once(web: WebServer, tmp_path: Path, answer: Answer) -> None:
    files = [tmp_path / f"{n}.jpg" for n in range(100)]
    for file in files:
        file.write_bytes(b"content")
    web.serve(PATH, answer)
    result = run(*files, "--endpoint", web.url)
    assert (result.exit_code, result.stdout) == (10, "")
    assert len(result.stderr.splitlines()) == 1
    assert len(web.requests) < 100


def test_the_key_comes_from_the_environment_or_the_option(
    web: WebServer, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    web.serve(PATH, predicted(one("beach")))
    monkeypatch.setenv("SCENEREC_API_KEY", "of-the-environment")
    run(photographs[0], "--endpoint", web.url)
    run(photographs[0], "--endpoint", web.url, "--api-key", "of-the-option")
    assert [request.headers["authorization"] for request in web.received] == [
        "Bearer of-the-environment",
        "Bearer of-the-option",
    ]


def test_an_address_that_is_none(photographs: list[Path]) -> None:
    result = run(photographs[0], "--endpoint", "localhost:8000")
    assert result.exit_code == 2
    assert "http://localhost:8000" in result.stderr


def test_coordinates_are_sent_in_a_form_and_in_no_address(web: WebServer, photographs: list[Path]) -> None:
    web.serve(PATH, predicted(one("beach")))
    where = ("--latitude", "-33.86", "--longitude", "151.21", "--time", "2024-12-31T23:59")
    assert run(photographs[0], "--endpoint", web.url, *where).exit_code == 0
    (request,) = web.received
    assert request.headers["content-type"].startswith("multipart/form-data") and "33" not in request.path
    for name, value in (("lat", "-33.86"), ("lon", "151.21"), ("time", "2023-12-31T23:59:00")):
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in request.body
    assert b"a.jpg" in request.body and b'filename="image-0"' in request.body


def test_exif_is_sent_of_those_that_have_it(web: WebServer, photographs: list[Path]) -> None:
    web.serve(PATH, predicted(one("beach")))
    photographs[1].write_bytes(photograph((52, 30, 0), (13, 15, 0), "N", "E", "2023:07:02 12:00:00"))
    assert run(*photographs[:2], "--endpoint", web.url, "--coordinates-from-exif").exit_code == 0
    bare, located = sorted((request.body for request in web.received), key=len)
    assert bare == b"a.jpg"
    assert b'name="lat"\r\n\r\n52.5\r\n' in located and b'name="time"\r\n\r\n2023-07-02T12:00:00\r\n' in located
