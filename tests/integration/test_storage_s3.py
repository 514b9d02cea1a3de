"""S3Storage against the real store."""

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from scenerec.errors import NotFoundError, StorageError
from scenerec.storage import ObjectInfo, S3Storage, open_storage
from tests.kept_port import keep_port, port_of


@pytest.fixture
def storage(store: None, request: pytest.FixtureRequest) -> S3Storage:
    """An empty folder of the bucket `scenes`, of this test alone: it goes with the store."""
    return S3Storage("scenes", f"storage-tests/{request.node.name}")


def test_what_is_put_comes_back(storage: S3Storage, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    storage.put("a/bytes", content)
    (tmp_path / "file").write_bytes(content)
    storage.put("a/file", tmp_path / "file")
    assert storage.get("a/bytes") == storage.get("a/file") == content
    assert storage.size("a/file") == len(content)
    assert open_storage(f"{storage.url}/a").get("bytes") == content


def test_a_file_of_several_parts(storage: S3Storage, tmp_path: Path) -> None:
    content = os.urandom(20 << 20)
    (tmp_path / "large").write_bytes(content)
    storage.put("large", tmp_path / "large")
    assert storage.get("large") == content


@pytest.mark.parametrize(("start", "length"), [(0, 10), (3, 4), (95, 100), (0, 0), (99, 1)])
def test_ranges(storage: S3Storage, start: int, length: int) -> None:
    content = bytes(range(100))
    storage.put("object", content)
    assert storage.get_range("object", start, length) == content[start : start + length]


def test_what_is_missing(storage: S3Storage) -> None:
    assert storage.size("nothing") is None
    assert list(storage.list()) == []
    for request in (lambda: storage.get("nothing"), lambda: storage.get_range("nothing", 0, 1)):
        with pytest.raises(NotFoundError, match=f"{storage.url}/nothing: no such object"):
            request()
    storage.delete("nothing")


def test_markers_of_folders_are_no_objects(storage: S3Storage) -> None:
    for key in ("", "assets.extra/", "full/"):
        storage.client.put_object(Bucket="scenes", Key=storage.prefix + key)
    storage.put("full/object", b"1")
    assert list(storage.list()) == [ObjectInfo("full/object", 1)]
    for key in ("assets.extra/", "full/", ""):
        storage.delete(key)


def test_a_range_behind_the_end_is_empty(storage: S3Storage) -> None:
    storage.put("object", b"content")
    assert storage.get_range("object", 50, 10) == b""


def test_a_missing_bucket_is_named(store: None) -> None:
    for request in (lambda s: s.get("key"), lambda s: list(s.list())):
        with pytest.raises(NotFoundError, match="no bucket `not-there`"):
            request(S3Storage("not-there", "x"))


def test_listing_is_ordered_and_pages(storage: S3Storage) -> None:
    keys = sorted(f"{number % 7}/{number:04}" for number in range(1100))
    threads = [
        threading.Thread(target=lambda mine: [storage.put(key, key.encode()) for key in mine], args=(keys[part::8],))
        for part in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(storage.list()) == [ObjectInfo(key, 6) for key in keys]
    assert [info.key for info in storage.list("3/")] == [key for key in keys if key.startswith("3/")]


def test_folders_are_those_right_below(storage: S3Storage) -> None:
    for key in ("b/x", "b/c/y", "a/z", "file"):
        storage.put(key, b"1")
    assert list(storage.folders()) == ["a", "b"]
    assert list(S3Storage("scenes", "nothing-here").folders()) == []


def test_a_reader_sees_the_old_object_or_the_new_one(storage: S3Storage) -> None:
    versions = {bytes([number]) * 300_000 for number in range(2)}
    storage.put("object", min(versions))
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while True:
            seen.add(storage.get("object"))
            if done.is_set():
                return

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        for version in sorted(versions):
            storage.put("object", version)
    done.set()
    reader.join()
    assert seen
    assert seen <= versions


def test_wrong_credentials_are_not_tried_again(store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="refuses these credentials"):
        S3Storage("scenes").get("key")


def test_no_credentials(store: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="no credentials"):
        S3Storage("scenes").get("key")


def test_a_store_that_is_down(store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with keep_port() as unused:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port_of(unused)}")
        with pytest.raises(StorageError, match="cannot reach http://127"):
            S3Storage("scenes").get("key")


def test_a_host_that_does_not_exist(store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.invalid:8333")
    with pytest.raises(StorageError, match=r"cannot reach http://store\.invalid"):
        S3Storage("scenes").get("key")


def test_a_store_that_breaks_off_is_asked_again(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a relay that cuts the first answers short: the object arrives whole, or not at all."""
    content = os.urandom(500_000)
    storage.put("object", content)
    with Relay(os.environ["AWS_ENDPOINT_URL"], cut_answers=2) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        assert S3Storage("scenes", storage.prefix.rstrip("/")).get("object") == content
        assert relay.cut == 2


class Relay:
    """Passes connections on to a server; cuts the first answers after some bytes."""

    def __init__(self, target: str, cut_answers: int) -> None:
        host, port = target.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.left = cut_answers
        self.cut = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def _accept(self) -> None:
        while True:
            try:
                inward, _ = self.server.accept()
            except OSError:
                return
            outward = socket.create_connection(self.target)
            limit = 20_000 if self.left > 0 else None
            self.left -= 1
            threading.Thread(target=self._pass, args=(inward, outward, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(outward, inward, limit), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while chunk := source.recv(4096):
                sink.sendall(chunk)
                passed += len(chunk)
                if limit and passed > limit:
                    self.cut += 1
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_conditional_put_wants_the_version_it_has_seen(storage: S3Storage) -> None:
    assert storage.get_versioned("alias") is None
    assert not storage.put_if("alias", b"1", '"0123456789abcdef0123456789abcdef"')
    assert storage.put_if("alias", b"1", None)
    assert not storage.put_if("alias", b"2", None)
    content, version = storage.get_versioned("alias") or (b"", "")
    assert content == b"1"
    assert storage.put_if("alias", b"2", version)
    assert not storage.put_if("alias", b"3", version)
    assert storage.get("alias") == b"2"


def test_of_many_conditional_writers_one_wins(storage: S3Storage) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        if storage.put_if("number", str(number).encode(), None):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [int(storage.get("number"))] == won
