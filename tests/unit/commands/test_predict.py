import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app
from tests.tiny_bundle import make_tiny_bundle


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, colour in (("a.jpg", (250, 10, 10)), ("b.png", (10, 250, 10)), ("c.webp", (10, 10, 250))):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def server(photographs: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(photographs))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
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


def test_an_address_is_fetched(server: str, bundle: Path) -> None:
    assert run(f"{server}/b.png", "-m", bundle).output.startswith(f"{server}/b.png: green 100.0%")


def test_what_cannot_be_read_is_named_and_the_others_go_on(photographs: Path, bundle: Path, server: str) -> None:
    result = run(
        photographs / "notes.txt", photographs / "gone.jpg", f"{server}/gone", photographs / "a.jpg", "-m", bundle
    )
    assert result.exit_code == 4
    lines = result.output.splitlines()
    assert len(lines) == 4
    assert "not a JPEG, PNG or WebP image" in lines[0]
    assert "No such file" in lines[1]
    assert "404" in lines[2]
    assert lines[3].startswith(f"{photographs}/a.jpg: red")


def test_a_model_of_the_registry(photographs: Path, bundle: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    CliRunner().invoke(app, ["registry", "push", str(bundle), "colours", "--registry", str(registry)])
    result = run(photographs / "c.webp", "-m", "colours", "--registry", registry)
    assert ": blue" in result.output
    assert run(photographs / "c.webp", "-m", "colours@production", "--registry", registry).exit_code == 9
