import os
import pickle
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.location import expand_location
from scenerec.errors import NotFoundError, StorageError
from scenerec.names import quoted
from scenerec.storage import LocalStorage, ObjectInfo, Patience, S3Storage, Storage, open_storage, read_json, split_url
from scenerec.storage.writable import check_writable
from tests.patience import PATIENCE_S
from tests.unprivileged import unprivileged
from tests.web import Answer, WebServer


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "root")


def test_the_address_decides(tmp_path: Path) -> None:
    s3 = open_storage("s3://bucket/a/b/")
    assert isinstance(s3, S3Storage)
    assert s3.url == "s3://bucket/a/b"
    assert open_storage("s3://bucket").url == "s3://bucket"
    assert open_storage(str(tmp_path)).url == open_storage(f"file://{tmp_path}").url == str(tmp_path)


def test_split_url() -> None:
    assert split_url("s3://bucket/runs/a.bin") == ("s3://bucket/runs", "a.bin")
    assert split_url("/data/a.bin") == ("/data", "a.bin")
    assert split_url("a.bin") == (".", "a.bin")
    assert split_url("/a.bin") == ("/", "a.bin")
    assert split_url("s3://bucket/") == ("s3://bucket", "")


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/etc/hostname", ".."])
def test_keys_do_not_lead_out_of_the_folder(storage: LocalStorage, key: str) -> None:
    for request in (lambda: storage.get(key), lambda: storage.put(key, b""), lambda: storage.delete(key)):
        with pytest.raises(StorageError, match="leads out of the folder"):
            request()


def test_what_is_put_comes_back(storage: LocalStorage, tmp_path: Path) -> None:
    content = os.urandom(10_000)
    (tmp_path / "file").write_bytes(content)
    storage.put("a/b/bytes", content)
    storage.put("a/file", tmp_path / "file")
    assert storage.get("a/b/bytes") == storage.get("a/file") == content
    assert storage.size("a/file") == len(content)
    assert (tmp_path / "root/a/file").stat().st_mode & 0o777 == 0o644


@given(content=st.binary(max_size=50), start=st.integers(0, 60), length=st.integers(0, 60))
def test_ranges_are_slices(tmp_path_factory: pytest.TempPathFactory, content: bytes, start: int, length: int) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("ranges"))
    storage.put("object", content)
    assert storage.get_range("object", start, length) == content[start : start + length]


def test_nothing_lies_below_a_file(storage: LocalStorage) -> None:
    storage.put("notes.txt", b"")
    assert list(LocalStorage(storage.root / "notes.txt/checkpoints").list()) == []
    with pytest.raises(StorageError, match=r"notes\.txt: Not a directory$"):
        list(LocalStorage(storage.root / "notes.txt").list())


def test_listing_is_ordered_by_key_and_begins_with_the_prefix(storage: LocalStorage) -> None:
    keys = ["a-b", "a/b", "a/c/d", "ab", "b", "a.b"]
    for key in keys:
        storage.put(key, key.encode())
    assert list(storage.list()) == [ObjectInfo(key, len(key)) for key in sorted(keys)]
    for prefix in ("a", "a/", "a/c", "b", "c/", "nothing/at/all"):
        assert [info.key for info in storage.list(prefix)] == sorted(k for k in keys if k.startswith(prefix))


def test_folders_are_those_right_below(storage: LocalStorage) -> None:
    for key in ("b/x", "b/c/y", "a/z", "file"):
        storage.put(key, b"1")
    assert list(storage.folders()) == ["a", "b"]
    assert list(LocalStorage(storage.root / "nothing-here").folders()) == []


def test_a_folder_that_is_not_there_is_empty(storage: LocalStorage) -> None:
    assert list(storage.list()) == []
    assert storage.size("key") is None
    storage.delete("key")
    with pytest.raises(NotFoundError, match="root/key: no such file"):
        storage.get("key")
    with pytest.raises(NotFoundError, match="root/key: no such file"):
        storage.get_range("key", 0, 1)


def test_deleting_the_last_object_removes_its_folders(storage: LocalStorage, tmp_path: Path) -> None:
    for key in ("a/b/one", "a/two"):
        storage.put(key, b"")
    storage.delete("a/b/one")
    assert not (tmp_path / "root/a/b").exists()
    assert storage.get("a/two") == b""


def test_errors_name_the_path_and_the_reason(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("file", b"")
    with pytest.raises(StorageError, match="root/file/below: ") as raised:
        storage.put("file/below", b"")
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(StorageError, match=r"root: .*directory"):
        storage.get("")


def test_a_folder_that_is_a_file_is_named(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"a file")
    with pytest.raises(StorageError, match=f"^{tmp_path}/root: Not a directory$"):
        list(storage.list())
    for write in (lambda: storage.put("a/b", b""), lambda: storage.put_if("a/b", b"", None)):
        with pytest.raises(StorageError, match=f"^{tmp_path}/root/a/b: Not a directory: {tmp_path}/root"):
            write()
    assert storage.size("a") is None
    assert list(LocalStorage(tmp_path / "root/below").list()) == []


def test_a_folder_that_may_not_be_read_is_no_empty_one(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("closed/object", b"")
    with unprivileged(tmp_path):
        (tmp_path / "root/closed").chmod(0)
        requests = {
            "": lambda: list(storage.list()),
            "/closed": lambda: list(LocalStorage(tmp_path / "root/closed").list()),
            "/closed/": lambda: list(LocalStorage(tmp_path / "root/closed").folders()),
            "/closed/object": lambda: storage.size("closed/object"),
            "/closed/other": lambda: storage.put("closed/other", b""),
            "/closed/results": lambda: check_writable(str(tmp_path / "root/closed/results")),
            "/closed/new/other": lambda: storage.put_if("closed/new/other", b"", None),
        }
        for where, request in requests.items():
            with pytest.raises(StorageError, match=f"^{tmp_path}/root{where.rstrip('/')}.*: Permission denied$"):
                request()


def test_a_disk_that_is_full_leaves_the_old_object_and_nothing_else(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("object", b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match=f"^{tmp_path}/root/object: File too large$"):
            storage.put("object", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert storage.get("object") == b"old"
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["object"]


def test_a_link_to_nothing_is_named(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("other", b"")
    (tmp_path / "root/object").symlink_to("/mnt/gone")
    with pytest.raises(NotFoundError, match=f"^{tmp_path}/root/object: is a link to /mnt/gone, which is not there$"):
        storage.get("object")
    assert [info.key for info in storage.list()] == ["other"]
    (tmp_path / "link").symlink_to("/mnt/gone")
    with pytest.raises(StorageError, match=f"^{tmp_path}/link/a: Not a directory: {tmp_path}/link$"):
        LocalStorage(tmp_path / "link").put("a", b"")


def test_links_in_a_circle_end(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("a/object", b"")
    (tmp_path / "root/a/circle").symlink_to(tmp_path / "root")
    (tmp_path / "root/self").symlink_to("self")
    assert [info.key for info in storage.list()] == ["a/object"]
    with pytest.raises(StorageError, match=r"root/self: Too many levels of symbolic links"):
        storage.get("self")


def test_names_that_are_not_utf_8(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"1")
    (info,) = storage.list()
    assert storage.get(info.key) == b"1"
    assert storage.size(info.key) == 1


@pytest.mark.parametrize("name", ["nul\0byte", "lone \ud800 surrogate", "n" * 300])
def test_names_that_no_file_can_have(storage: LocalStorage, name: str) -> None:
    for request in (lambda: storage.get(name), lambda: storage.put(name, b""), lambda: storage.put_if(name, b"", None)):
        with pytest.raises(StorageError) as raised:
            request()
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3:/bucket/a", "is no address: write s3://bucket/a"),
        ("s3:bucket", "is no address: write s3://bucket"),
        ("S3://bucket", "is no address: write s3://bucket"),
        ("s3a://bucket/a", "is no address: write s3://bucket/a"),
        ("s3://", "needs a bucket"),
        ("s3:///a", "needs a bucket"),
        ("s3://my bucket/a", "'my bucket' is no bucket's name"),
        ("s3://localhost:8333/bucket", "AWS_ENDPOINT_URL names the store"),
        ("gs://bucket/a", "only s3:// addresses and local paths"),
        ("https://bucket.s3.amazonaws.com/a", "only s3:// addresses and local paths"),
        ("file:/a", "only s3:// addresses and local paths"),
        ("file://host/a", "only s3:// addresses and local paths"),
        ("~nobody-of-this-name/a", "nobody is known whose home ~nobody-of-this-name could be"),
        ("a\0b", "control characters"),
    ],
)
def test_what_is_no_address(url: str, told: str) -> None:
    with pytest.raises(StorageError, match=told) as raised:
        open_storage(url)
    assert str(raised.value).startswith(f"{quoted(url)}: ")
    with pytest.raises(ValueError, match=told):
        expand_location(url)


def test_names_with_colons_are_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run 12:30", "a:b", "./s3:", "x/s3:/y"):
        assert open_storage(name).url == str(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"other": 1}'])
def test_damaged_json_is_named(storage: LocalStorage, content: bytes) -> None:
    assert read_json(storage, "best.json", "checkpoint") is None
    storage.put("best.json", content)
    with pytest.raises(StorageError, match=r"/best\.json: is damaged: it (holds no JSON object|lacks checkpoint): "):
        read_json(storage, "best.json", "checkpoint")


def test_a_put_that_fails_leaves_the_old_object_and_nothing_else(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("object", b"old")
    with pytest.raises(StorageError):
        storage.put("object", tmp_path / "not there")
    assert [info.key for info in storage.list()] == ["object"]
    assert storage.get("object") == b"old"


def test_a_reader_sees_the_old_object_or_the_new_one(storage: LocalStorage) -> None:
    versions = {bytes([number]) * 500_000 for number in range(2)}
    storage.put("object", min(versions))
    begun, done = threading.Event(), threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(storage.get("object"))
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(PATIENCE_S)
    for _ in range(50):
        for version in sorted(versions):
            storage.put("object", version)
    done.set()
    reader.join()
    assert seen <= versions


def test_a_file_that_is_being_written_is_no_object(storage: LocalStorage, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=storage.put, args=("object", pipe))
    writer.start()
    with pipe.open("wb") as source:
        source.write(b"half")
        source.flush()
        assert list((tmp_path / "root").iterdir())
        assert list(storage.list()) == []
    writer.join()
    assert [info.key for info in storage.list()] == ["object"]


def test_s3_storage_travels_to_other_processes_without_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    storage = S3Storage("bucket", "prefix")
    assert storage.client is storage.client
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.url == storage.url
    assert copy.client is not storage.client


def test_a_conditional_put_wants_the_version_it_has_seen(storage: LocalStorage) -> None:
    assert storage.get_versioned("alias") is None
    assert not storage.put_if("alias", b"1", "some version")
    assert storage.put_if("alias", b"1", None)
    assert not storage.put_if("alias", b"2", None)
    content, version = storage.get_versioned("alias") or (b"", "")
    assert content == b"1"
    assert storage.put_if("alias", b"2", version)
    assert not storage.put_if("alias", b"3", version)
    assert storage.get("alias") == b"2"


def test_of_many_conditional_writers_one_wins(storage: LocalStorage) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        if storage.put_if("number", str(number).encode(), None):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [int(storage.get("number"))] == won


CONTENT = bytes(range(100))
WHOLE = Answer(CONTENT, headers={"ETag": '"version"'})
SHORT = Answer(CONTENT, headers={"ETag": '"version"'}, sent_bytes=60)
READS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("object"),
    "get_range": lambda storage: storage.get_range("object", 0, len(CONTENT)),
    "get_versioned": lambda storage: (storage.get_versioned("object") or (None,))[0],
}


@pytest.fixture
def store(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    """A bucket at a server whose answers a test decides."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return S3Storage("bucket")


def test_each_storage_asks_as_the_environment_says_when_it_is_opened(
    store: S3Storage, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What boto3 has read of S3 is shared, who asks is not."""
    web.serve("/bucket/object", CONTENT, CONTENT, CONTENT)
    store.get("object")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    S3Storage("bucket").get("object")
    store.get("object")
    asked_by = [request.headers["authorization"].partition("Credential=")[2] for request in web.received]
    assert [by.partition("/")[0] for by in asked_by] == ["key", "another", "key"]


@pytest.mark.slow
@pytest.mark.parametrize("read", READS)
def test_a_short_body_never_passes_for_the_object(store: S3Storage, web: WebServer, read: str) -> None:
    store.patience = Patience(0.1)
    web.serve("/bucket/object", SHORT, WHOLE)
    assert READS[read](store) == CONTENT
    assert len(web.requests) == 2
    web.serve("/bucket/object", SHORT)
    with pytest.raises(StorageError, match=r"^s3://bucket/object: "):
        READS[read](store)


def test_an_object_without_a_version_can_be_read(store: S3Storage, web: WebServer) -> None:
    web.serve("/bucket/object", CONTENT)
    assert store.get("object") == store.get_range("object", 0, len(CONTENT)) == CONTENT
    _, version = store.get_versioned("object") or (b"", None)
    with pytest.raises(StorageError, match=r"tells no version \(ETag\)"):
        store.put_if("object", b"new", version)
