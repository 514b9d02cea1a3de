import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.data.manifest import Place
from tests.measured import validation
from tests.tiny_bundle import make_tiny_bundle
from tests.unit.data.conftest import photograph
from tests.unprivileged import unprivileged
from tests.web import Answer, WebServer


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, colour in (("a.jpg", (250, 10, 10)), ("b.png", (10, 250, 10)), ("c.webp", (10, 10, 250))):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    (folder / "._a.png").write_text("what macOS leaves")
    (folder / "@eaDir" / "a.png").mkdir(parents=True)
    (folder / "@eaDir" / "a.png" / "SYNOPHOTO_THUMB_M.jpg").write_text("what a NAS leaves")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def server(photographs: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(photographs))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_a_folder_is_named_image_by_image(photographs: Path, bundle: Path) -> None:
    result = run(photographs, "--model", bundle, "--json", "-k", 2)
    found = [json.loads(line) for line in result.output.splitlines()]
    assert [Path(each["image"]).name for each in found] == ["a.jpg", "b.png", "c.webp"]
    assert [each["predictions"][0]["label"] for each in found] == ["red", "green", "blue"]
    assert all(len(each["predictions"]) == 2 for each in found)


def test_a_folder_without_an_image_is_named_and_the_others_go_on(
    photographs: Path, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "none" / "deeper").mkdir(parents=True)
    (tmp_path / "none" / "notes.txt").touch()
    complaint, told = run(tmp_path / "none", photographs / "a.jpg", "-m", bundle).output.splitlines()
    assert complaint == f"error: {tmp_path}/none: has no image in it"
    assert told.startswith(f"{photographs}/a.jpg: red")
    assert run(tmp_path / "none", "-m", bundle).exit_code == 4


def test_the_place_of_the_first_class_is_told(photographs: Path, tmp_path: Path) -> None:
    """By the keys of an endpoint's answers; what is not known is left out."""
    places = {"red": Place(indoor_outdoor="indoor", category=("home", "kitchen")), "green": Place(category=("nature",))}
    make_tiny_bundle(tmp_path / "bundle", places=places)
    shown = run(photographs, "-m", tmp_path / "bundle", "-k", 1).output.splitlines()
    assert [line.rpartition(": ")[2] for line in shown] == [
        "red 100.0% (indoor; home; kitchen)",
        "green 100.0% (nature)",
        "blue 100.0%",
    ]
    told = [json.loads(line) for line in run(photographs, "-m", tmp_path / "bundle", "--json").output.splitlines()]
    assert [{key: each[key] for key in each.keys() - {"image", "predictions"}} for each in told] == [
        {"indoor_outdoor": "indoor", "category": ["home", "kitchen"]},
        {"category": ["nature"]},
        {},
    ]


def test_a_model_that_is_not_sure_enough_says_so(photographs: Path, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "unsure", validation=validation(abstain_below=1.01))
    make_tiny_bundle(tmp_path / "sure", validation=validation(abstain_below=0.5))
    image = photographs / "a.jpg"
    assert run(image, "-m", tmp_path / "unsure").output.startswith(f"{image}: not sure enough: red 100.0%")
    assert run(image, "-m", tmp_path / "sure").output.startswith(f"{image}: red 100.0%")
    told = [json.loads(run(image, "-m", tmp_path / each, "--json").output)["abstained"] for each in ("unsure", "sure")]
    assert told == [True, False]


def test_an_address_is_fetched(server: str, bundle: Path) -> None:
    assert run(f"{server}/b.png", "-m", bundle).output.startswith(f"{server}/b.png: green 100.0%")


def test_what_cannot_be_read_is_named_and_the_others_go_on(photographs: Path, bundle: Path, server: str) -> None:
    result = run(
        photographs / "notes.txt", photographs / "gone.jpg", f"{server}/gone", photographs / "a.jpg", "-m", bundle
    )
    assert result.exit_code == 4
    lines = result.output.splitlines()
    assert len(lines) == 4
    assert "not a JPEG, PNG, WebP, GIF or BMP image" in lines[0]
    assert "No such file" in lines[1]
    assert "404" in lines[2]
    assert lines[3].startswith(f"{photographs}/a.jpg: red")


CHUNKED = {"Transfer-Encoding": "chunked"}
BROKEN = {
    "cut": (Answer(bytes(5000), sent_bytes=2000), "the answer broke off"),
    "chunks": (Answer(b"zz\r\nhello", headers=CHUNKED, sent_bytes=9), "the answer broke off"),
    "cut chunks": (Answer(b"ff\r\nhello", headers=CHUNKED, sent_bytes=9), "the answer broke off"),
    "gzip": (Answer(b"no gzip", headers={"Content-Encoding": "gzip"}), "its compression is damaged"),
    "brotli": (Answer(b"no brotli", headers={"Content-Encoding": "br"}), "in the coding br, which was not asked for"),
    "redirect in brotli": (
        Answer(b"no brotli" * 9, status=302, location="/circle", headers={"Content-Encoding": "br"}),
        "cannot be read: brotli",
    ),
    "coding": (Answer(b"anything", headers={"Content-Encoding": "compress"}), "in the coding compress"),
    "circle": (Answer(status=302, location="/circle"), "Exceeded 30 redirects"),
    "nonsense": (Answer(status=302, location="http://[bad"), "what is no address (Invalid IPv6 URL)"),
    "scheme": (Answer(status=302, location="file:///etc/passwd"), "what is no address"),
    "port": (Answer(status=302, location="http://localhost:99999/"), "what is no address"),
    "login": (Answer(b"<!DOCTYPE html>", headers={"Content-Type": "text/html"}), "is a web page, no image"),
    "hung up": (Answer(hangs_up=True), "Remote end closed connection"),
    "error": (Answer(status=500), "500 Internal Server Error"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_download_is_named_and_the_others_go_on(
    photographs: Path, bundle: Path, web: WebServer, case: str
) -> None:
    answer, reason = BROKEN[case]
    url = web.serve(f"/{case.replace(' ', '-')}", answer)
    result = run(url, photographs / "a.jpg", "-m", bundle)
    assert result.exit_code == 4, result.output
    complaint, told = result.output.splitlines()
    assert complaint.startswith(f"error: {url}: ")
    assert reason in complaint
    assert told.startswith(f"{photographs}/a.jpg: red")


@pytest.mark.parametrize(
    "url", ["http://", "http://[bad/a.jpg", "http://a b/a.jpg", f"http://{'a' * 70}.com/", "http://h:x/"]
)
def test_what_is_no_address_is_named_and_the_others_go_on(photographs: Path, bundle: Path, url: str) -> None:
    result = run(url, photographs / "a.jpg", "-m", bundle)
    assert result.exit_code == 4, result.output
    complaint, told = result.output.splitlines()
    assert complaint.startswith(f"error: {url}: cannot be read: is, or leads to, what is no address")
    assert told.startswith(f"{photographs}/a.jpg: red")


def test_what_may_not_be_read_is_named_and_the_others_go_on(photographs: Path, bundle: Path, tmp_path: Path) -> None:
    (photographs / "closed").mkdir()
    run(photographs / "a.jpg", "-m", bundle)  # what it imports is there from now on
    with unprivileged(tmp_path):
        (photographs / "b.png").chmod(0)
        (photographs / "closed").chmod(0)
        result = run(photographs, photographs / "closed/d.jpg", "-m", bundle)
    assert result.exit_code == 4, result.output
    denied = "cannot be read: Permission denied"
    told = [line for line in result.output.splitlines() if "100.0%" not in line]
    assert told == [f"error: {photographs}/{name}: {denied}" for name in ("b.png", "closed", "closed/d.jpg")]
    assert len(result.output.splitlines()) == 5


def test_a_file_without_end_is_named_and_the_others_go_on(photographs: Path, bundle: Path) -> None:
    result = run("/dev/zero", photographs / "a.jpg", "-m", bundle)
    assert result.exit_code == 4
    assert result.output.startswith("error: /dev/zero: is larger than 256 MB\n")


def test_a_pipe_does_not_make_it_wait(photographs: Path, bundle: Path) -> None:
    os.mkfifo(photographs / "b.jpg")
    result = run(photographs, "-m", bundle)
    assert result.exit_code == 4
    assert f"error: {photographs}/b.jpg: cannot be read: is a pipe, no file" in result.output.splitlines()
    assert len(result.output.splitlines()) == 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_damaged_picture_is_named_and_not_answered(
    photographs: Path, bundle: Path, tmp_path: Path, kind: str
) -> None:
    damaged, heat = tmp_path / "damaged.jpg", tmp_path / "heat"
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(damaged, kind)
    content = damaged.read_bytes()
    middle = len(content) // 2
    kept = len(content) if kind == "PNG" else middle + 8  # a PNG's checksums tell of a single byte
    damaged.write_bytes(
        content[:middle] + bytes(value ^ 0x55 for value in content[middle : middle + 4]) + content[middle + 4 : kept]
    )
    result = run(damaged, photographs / "a.jpg", "-m", bundle, "--explain", heat)
    assert result.exit_code == 4
    assert result.stderr.startswith(f"error: {damaged}: cannot be decoded: ")
    assert result.stdout.startswith(f"{photographs}/a.jpg: red")
    assert [file.name for file in heat.iterdir()] == ["a.png"]


def test_heat_maps_are_written_over_the_images(photographs: Path, bundle: Path, tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), (90, 90, 90))
    picture.paste((90, 90, 250), (4, 4, 8, 8))
    for name in ("corner-2.png", "corner.png", "again/corner.png"):
        (photographs / name).parent.mkdir(exist_ok=True)
        picture.save(photographs / name)
    folder = tmp_path / "heat" / "maps"
    result = run(photographs, "-m", bundle, "--explain", folder)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == [
        *("a.png", "b.png", "c.png"),
        *("corner-2.png", "corner-3.png", "corner.png"),
    ]
    found = Image.open(folder / "corner.png")
    assert found.size == (8, 8)
    assert found.getpixel((0, 0)) == (90, 90, 90), "nothing speaks for blue there"
    red, green, blue = found.getpixel((7, 7))
    assert min(red, green) > 160 > blue, "hot places are yellow"


def test_heat_maps_need_a_bundle_on_this_machine_and_a_folder(photographs: Path, bundle: Path) -> None:
    picture = photographs / "a.jpg"
    assert run(picture, "-m", "tiny", "--endpoint", "http://localhost:1", "--explain", photographs).exit_code == 2
    assert run(picture, "-m", bundle, "--explain", picture).exit_code == 3


def test_a_model_of_the_registry(photographs: Path, bundle: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    CliRunner().invoke(app, ["registry", "push", str(bundle), "colours", "--registry", str(registry)])
    result = run(photographs / "c.webp", "-m", "colours", "--registry", registry)
    assert ": blue" in result.output
    assert run(photographs / "c.webp", "-m", "colours@production", "--registry", registry).exit_code == 9


class TestCoordinates:
    """Of a model in which latitude adds to green, longitude to blue, and the time to red."""

    @pytest.fixture
    def located(self, tmp_path: Path) -> Path:
        make_tiny_bundle(tmp_path / "located", coordinates=True)
        return tmp_path / "located"

    def test_they_are_typed_for_all_images(self, photographs: Path, located: Path) -> None:
        def labels(*arguments: object) -> list[str]:
            result = run(photographs, "-m", located, "--json", "-k", 1, *arguments)
            assert result.exit_code == 0, result.output
            return [json.loads(line)["predictions"][0]["label"] for line in result.stdout.splitlines()]

        assert labels() == ["red", "green", "blue"]
        assert labels("--latitude", 80, "--longitude", -20) == ["green"] * 3
        assert labels("--latitude", -80, "--longitude", 170) == ["blue"] * 3
        assert labels("--latitude", 1, "--longitude", 1, "--time", "2023-07-02") == ["red"] * 3

    def test_exif_goes_before_what_is_typed(self, tmp_path: Path, located: Path) -> None:
        folder = tmp_path / "taken"
        folder.mkdir()
        (folder / "a.jpg").write_bytes(photograph((80, 0, 0), (20, 0, 0), "N", "W"))
        (folder / "b.jpg").write_bytes(photograph((180, 0, 0), (20, 0, 0), "N", "W"))
        (folder / "c.jpg").write_bytes(photograph(None, None))
        result = run(folder, "-m", located, "-k", 1, "--coordinates-from-exif", "--latitude", "-80", "--longitude", 170)
        assert result.exit_code == 0
        assert [line.split()[1] for line in result.stdout.splitlines()] == ["green", "blue", "blue"]
        told = (
            f"warning: {folder}/b.jpg: EXIF: latitude is not between -90 and 90 degrees: "
            "are latitude and longitude swapped?"
        )
        assert result.stderr.splitlines() == [told]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("--latitude", 97, "--longitude", 1), "--latitude is not between -90 and 90 degrees: are --latitude and "),
            (("--latitude", 7), "--latitude and --longitude come together or not at all"),
            (("--time", "2024-06-21"), "--time is given without --latitude and --longitude"),
            (("--latitude", 7, "--longitude", 7, "--time", "June"), "--time is not an ISO date such as 2024-06-21"),
        ],
    )
    def test_impossible_ones_are_refused_by_their_option(
        self, photographs: Path, located: Path, arguments: tuple[object, ...], expected: str
    ) -> None:
        result = run(photographs, "-m", located, *arguments)
        assert (result.exit_code, result.stdout) == (2, "") and result.stderr.startswith(f"error: {expected}")

    def test_a_model_that_reads_none_is_not_given_any(self, photographs: Path, bundle: Path) -> None:
        result = run(photographs, "-m", bundle, "--latitude", 7, "--longitude", 7)
        assert result.exit_code == 2
        assert f"--latitude: {bundle} does not read where a photograph was taken: leave it out" in result.stderr
        result = run(photographs, "-m", bundle, "--coordinates-from-exif")
        assert "--coordinates-from-exif: " in result.stderr and result.exit_code == 2
