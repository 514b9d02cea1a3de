import os
import re
from pathlib import Path

import pytest

from scenerec.errors import StorageError
from scenerec.models.weights import download as module
from scenerec.models.weights.download import ATTEMPTS, DownloadError, download
from tests.web import Answer, WebServer


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_file_arrives_whole(web: WebServer, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = os.urandom(3_000_000)
    url = web.serve("/a/file.pth", content)
    download(url, target)
    assert target.read_bytes() == content
    assert capsys.readouterr().err == f"downloading {url} (3.0 MB)\n"


def test_redirects_are_followed(web: WebServer, target: Path) -> None:
    moved = web.serve("/new", b"content")
    download(web.serve("/old", Answer(status=302, location=moved)), target)
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize("first", [Answer(b"0123456789", sent_bytes=4), Answer(status=503), Answer(status=429)])
def test_what_may_pass_is_tried_again(web: WebServer, target: Path, first: Answer) -> None:
    download(web.serve("/file", first, first, b"0123456789"), target)
    assert target.read_bytes() == b"0123456789"
    assert len(web.requests) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"0123456789", sent_bytes=4), "the connection broke off after 4 of 10 bytes, 4 times"),
        (Answer(status=500), "500 Internal Server Error, 4 times"),
    ],
)
def test_not_for_ever(web: WebServer, target: Path, answer: Answer, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        download(web.serve("/file", answer), target)
    assert len(web.requests) == ATTEMPTS


@pytest.mark.parametrize(("status", "message"), [(404, "404 Not Found"), (403, "403 Forbidden")])
def test_a_refusal_is_not_tried_again(web: WebServer, target: Path, status: int, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        download(web.serve("/file", Answer(status=status)), target)
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}), "a web page came instead of a file"),
        (Answer(b"packed", headers={"Content-Encoding": "gzip"}), "compressed by gzip"),
        (Answer(), "the answer is empty"),
        (Answer(status=302, location="/file"), "redirects in a circle"),
        (Answer(status=302, location="http://[bad"), "what is no address: Invalid IPv6 URL"),
        (Answer(status=302, location="file:///etc/passwd"), "to no web address: file:///etc/passwd"),
    ],
)
def test_what_is_no_file_is_named(web: WebServer, target: Path, answer: Answer, message: str) -> None:
    with pytest.raises(DownloadError, match=re.escape(message)) as raised:
        download(web.serve("/file", answer), target)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("body", [b"zz\r\nhello", b"ff\r\nhello"])
def test_parts_that_break_off(web: WebServer, target: Path, body: bytes) -> None:
    answer = Answer(body, headers={"Transfer-Encoding": "chunked"}, sent_bytes=len(body))
    with pytest.raises(DownloadError, match=r"^the connection broke off, 4 times$"):
        download(web.serve("/file", answer), target)


def test_an_address_with_umlauts_and_spaces(web: WebServer, target: Path) -> None:
    web.serve("/G%C3%A4ste%20netz.pth", b"content")
    download(f"{web.url}/Gäste netz.pth", target)
    download(f"{web.url}/G%C3%A4ste%20netz.pth", target)
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize("url", ["http://", "http://[bad/a.pth", "http://a b/a.pth", f"http://{'a' * 70}.com/a.pth"])
def test_what_is_no_address(target: Path, url: str) -> None:
    with pytest.raises(DownloadError):
        download(url, target)


def test_a_refused_connection(web: WebServer, target: Path) -> None:
    web.stop()
    with pytest.raises(DownloadError, match=r"^Connection refused$"):
        download(f"{web.url}/file", target)


def test_a_host_that_does_not_exist(target: Path, web: WebServer) -> None:
    with pytest.raises(DownloadError, match=r"not known|resolution"):
        download("http://weights.invalid/file", target)


def test_a_proxy_is_honoured(web: WebServer, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    web.serve("http://weights.invalid/file", b"through the proxy")
    download("http://weights.invalid/file", target)
    assert target.read_bytes() == b"through the proxy"


def test_a_place_that_cannot_be_written(web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"not-there/file: No such file.*TMPDIR"):
        download(web.serve("/file", b"content"), tmp_path / "not-there/file")
