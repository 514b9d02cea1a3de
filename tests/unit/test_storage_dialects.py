"""S3Storage at stores whose habits SeaweedFS lacks, and at what is no store at all."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.errors import NotFoundError, StorageError
from scenerec.storage import ObjectInfo, S3Storage, Storage, open_storage, patience
from tests.clock import set_clock
from tests.odd_store import OddStore, Refusal
from tests.store_fuzz import REQUESTS
from tests.tiny_bundle import make_tiny_bundle

LOGIN = b"<html><body>Login to the console<br></body></html>"
XHTML = b"<html><body>Login to the console</body></html>"


@pytest.fixture(scope="module")
def server() -> Iterator[OddStore]:
    with OddStore() as store, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REQUEST_CHECKSUM_CALCULATION"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ENDPOINT_URL", store.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("NO_PROXY", "127.0.0.1")
        set_clock(patch, patience)
        yield store


@pytest.fixture
def store(server: OddStore) -> OddStore:
    """The server with an empty bucket and no odd habits."""
    server.objects, server.habits, server.refusal = {}, frozenset(), None
    server.requests.clear()
    return server


@pytest.fixture(scope="module")
def bucket(server: OddStore) -> S3Storage:
    """The bucket, by one connection for all tests: a new one takes a quarter of a second."""
    return S3Storage("bucket")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def refused(request: Callable[[Storage], object], storage: Storage) -> str:
    """The one line of a request that is refused."""
    with pytest.raises(StorageError) as raised:
        request(storage)
    assert len(str(raised.value).splitlines()) == 1
    assert not isinstance(raised.value, NotFoundError)
    return str(raised.value)


def test_an_ordinary_store(store: OddStore) -> None:
    storage = open_storage("s3://bucket/a")
    keys = [f"{number}/é &+" for number in range(7)]
    for key in keys:
        storage.put(key, key.encode())
    assert list(storage.list()) == [ObjectInfo(key, len(key.encode())) for key in keys]
    assert storage.get_range(keys[0], 0, 3) == b"0/\xc3"
    assert storage.get_range(keys[0], 50, 3) == b""
    assert storage.size("nothing") is None
    assert storage.put_if("alias", b"1", None)
    assert not storage.put_if("alias", b"2", None)
    _, version = storage.get_versioned("alias") or (b"", "")
    assert storage.put_if("alias", b"2", version)
    assert not storage.put_if("alias", b"3", version)
    assert store.objects["a/alias"] == b"2"
    assert len(store.objects) == len(keys) + 1, "what was tried on is gone"


def test_markers_of_folders_are_no_objects(store: OddStore) -> None:
    store.objects = dict.fromkeys(("run/", "run/assets.extra/", "run/old_$folder$"), b"") | {"run/a": b"1"}
    assert [info.key for info in open_storage("s3://bucket/run").list()] == ["a"]
    assert [info.key for info in open_storage("s3://bucket").list("run")] == ["run/a"]


def test_a_bundle_goes_to_a_folder_that_a_console_made(store: OddStore, bundle: Path, tmp_path: Path) -> None:
    store.objects = {"models/": b"", "models/tiny/": b""}
    pushed = run("registry", "push", bundle, "tiny", "--registry", "s3://bucket/models")
    assert pushed.exit_code == 0, pushed.output
    assert "models/tiny/1/bundle.json" in store.objects


def test_a_store_that_refuses_checksums(store: OddStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.habits = frozenset({"no-checksums"})
    storage = S3Storage("bucket")
    for name in ("put", "put a file", "put_if"):
        REQUESTS[name](storage)
    content = bytes(range(256)) * (9 << 12)  # 9 MiB, which go in parts
    (tmp_path / "large").write_bytes(content)
    storage.put("large", tmp_path / "large")
    assert set(store.objects) == {"key", "large"}
    assert store.objects["large"] == content
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")  # the user's own word
    told = refused(REQUESTS["put"], S3Storage("bucket"))
    assert "set AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in told
    assert told.startswith(f"s3://bucket/key: {store.url}")


@pytest.mark.parametrize("habit", ["conditions-501", "conditions-400", "conditions-ignored"])
def test_a_store_without_conditional_writes_keeps_no_registry(store: OddStore, bundle: Path, habit: str) -> None:
    store.habits = frozenset({habit})
    store.objects = {"models/tiny/aliases/production.json": b"somebody's"}
    before = dict(store.objects)
    result = run("registry", "push", bundle, "tiny", "--registry", "s3://bucket/models")
    assert result.exit_code == 3
    (line,) = result.output.splitlines()
    assert line.startswith("error: s3://bucket/models")
    assert "no conditional writes" in line
    assert "keep the registry (--registry, SCENEREC_REGISTRY)" in line
    assert store.objects == before, "refused before anything was written"
    S3Storage("bucket").put("runs/a", b"all else works")


@pytest.mark.parametrize("habit", ["no-token", "same-token", "other-token"])
def test_a_listing_that_cannot_go_on_is_refused(store: OddStore, bucket: S3Storage, habit: str) -> None:
    store.habits = frozenset({habit})
    store.objects = dict.fromkeys("abcdefg", b"")
    assert "ListObjectsV2" in refused(REQUESTS["list"], bucket)
    store.objects = dict.fromkeys("abc", b"")
    assert [info.key for info in bucket.list()] == ["a", "b", "c"]


def test_a_store_that_sends_whole_objects(store: OddStore, bucket: S3Storage) -> None:
    store.habits = frozenset({"whole-ranges"})
    store.objects = {"key": bytes(range(100))}
    assert bucket.get_range("key", 10, 5) == bytes(range(10, 15))


def test_versions_behind_a_proxy_that_compresses(store: OddStore, bucket: S3Storage) -> None:
    store.habits = frozenset({"weak-etags"})
    store.objects = {"key": b"1"}
    _, version = bucket.get_versioned("key") or (b"", "")
    assert bucket.put_if("key", b"2", version)


PAGE = {"Content-Type": "text/html; charset=utf-8"}
REFUSALS = {
    "expired": (Refusal(400, "ExpiredToken"), "the credentials have expired"),
    "foreign token": (Refusal(400, "InvalidToken"), "AWS_SESSION_TOKEN"),
    "clock": (Refusal(403, "RequestTimeTooSkewed"), "this machine's clock is not the store's"),
    "wrong key": (Refusal(403, "SignatureDoesNotMatch"), "refuses these credentials"),
    "region": (Refusal(400, "AuthorizationHeaderMalformed"), "set AWS_REGION"),
    "region told": (Refusal(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}), "set AWS_REGION"),
    "moved": (Refusal(301, "PermanentRedirect"), "AWS_REGION the bucket's region"),
    "moved to": (Refusal(301, page=b"<Error><Endpoint>b.s3.example</Endpoint></Error>"), "redirects to b.s3.example: "),
    "login": (Refusal(200, page=LOGIN, headers=PAGE), "answers with a web page, as no S3 store does"),
    "tidy login": (Refusal(200, page=XHTML, headers=PAGE), "answers with a web page, as no S3 store does"),
    "sent to a login": (
        Refusal(302, headers={"Location": "https://sso.example/login"}),
        "to https://sso.example/login",
    ),
    "full": (Refusal(507, "InsufficientStorage"), "the store is full"),
    "another server": (Refusal(404, page=b"404 page not found"), "answers 404 without S3's words: is AWS_ENDPOINT_URL"),
    "down": (Refusal(503), "answers 503 without S3's words"),
    "down behind a proxy": (Refusal(502, page=LOGIN, headers=PAGE), "answers with a web page (502)"),
    "blocked by a proxy": (Refusal(403, page=LOGIN, headers=PAGE), "answers with a web page (403)"),
}


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("case", REFUSALS)
def test_every_refusal_is_named_with_its_remedy(
    store: OddStore, bucket: S3Storage, case: str, request_name: str
) -> None:
    store.refusal, remedy = REFUSALS[case]
    told = refused(REQUESTS[request_name], bucket)
    assert told.startswith("s3://bucket")
    assert store.url in told
    assert remedy in told


def test_what_cannot_help_is_not_tried_again(store: OddStore, bucket: S3Storage) -> None:
    for status, code, requests in ((400, "ExpiredToken", 1), (501, "NotImplemented", 1), (503, "SlowDown", 5)):
        store.refusal = Refusal(status, code)
        store.requests.clear()
        refused(REQUESTS["get"], bucket)
        assert len(store.requests) == requests, code


def test_a_listing_in_xml_of_another_kind_is_no_empty_one(store: OddStore, bucket: S3Storage) -> None:
    store.refusal = Refusal(200, page=XHTML, headers={"Content-Type": "application/xhtml+xml"})
    assert "something else than a listing" in refused(REQUESTS["list"], bucket)


def test_a_missing_bucket_is_named(store: OddStore) -> None:
    for name in ("get", "put", "put_if", "list"):
        with pytest.raises(NotFoundError, match=f"no bucket `gone` at {store.url}"):
            REQUESTS[name](S3Storage("gone"))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:8333", "write http://localhost:8333"),
        ("127.0.0.1:8333", "write http://127.0.0.1:8333"),
        ("//store:8333", "write http://store:8333"),
        ("s3://store", "write http://store"),
        ("http://", "is no address"),
        ("http://store:port", "is no address"),
        ("http://store:99999", "is no address"),
        ("http://[store", "is no address"),
        ("http://sto re:8333", "is no address"),
        ("http://store:8333?x=1", "is no address"),
    ],
)
def test_an_endpoint_that_is_no_address(monkeypatch: pytest.MonkeyPatch, url: str, told: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    result = run("data", "show", "s3://bucket/train")
    assert result.exit_code == 3
    (line,) = result.output.splitlines()
    assert line.startswith(f"error: AWS_ENDPOINT_URL={url!r}: ")
    assert told in line


def test_a_password_in_the_address_is_not_told(store: OddStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url.replace("://", "://me:hidden@"))
    told = refused(REQUESTS["get"], S3Storage("bucket"))
    assert told.startswith("AWS_ENDPOINT_URL: holds a name or a password")
    assert "hidden" not in told


@pytest.mark.parametrize("value", [" key", "key\n", "k\ney", "kéy"])
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"])
def test_spaces_around_a_variable_are_told_and_its_value_is_not(
    store: OddStore, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    told = refused(REQUESTS["get"], S3Storage("bucket"))
    assert told.startswith(f"{variable}: has spaces or line breaks around it")
    assert value.strip() not in told.removeprefix(variable)


def test_an_endpoint_with_a_slash_or_a_path(store: OddStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.objects = {"key": b"content"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{store.url}/")
    assert S3Storage("bucket").get("key") == b"content"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{store.url}/bucket")
    with pytest.raises(NotFoundError, match=r"AWS_ENDPOINT_URL ends in /bucket: a bucket is named in s3://BUCKET"):
        S3Storage("bucket").get("key")


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "a file of settings"])
def test_an_endpoint_that_is_named_elsewhere_is_spoken_to_alike(
    store: OddStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    if variable.startswith("AWS"):
        monkeypatch.setenv(variable, store.url)
    else:
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {store.url}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store.habits = frozenset({"no-checksums"})
    storage = S3Storage("bucket")
    storage.put("key", b"content")
    assert store.objects == {"key": b"content"}
    store.refusal = Refusal(404)
    name = variable if variable.startswith("AWS") else "endpoint_url in ~/.aws/config"
    assert refused(REQUESTS["get"], storage).startswith(f"s3://bucket/key: {store.url} answers 404")
    assert f"is {name} its address" in refused(REQUESTS["get"], storage)


def test_tls_where_there_is_none(store: OddStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url.replace("http:", "https:"))
    assert "http:// instead of https://" in refused(REQUESTS["get"], S3Storage("bucket"))


def test_a_profile_that_is_not_there(store: OddStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in refused(REQUESTS["get"], S3Storage("bucket"))


def test_a_file_to_be_sent_that_is_not_there(store: OddStore, bucket: S3Storage, tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone'}: No such file" in refused(
        lambda storage: storage.put("key", tmp_path / "gone"), bucket
    )


def test_a_key_that_is_no_text(store: OddStore, bucket: S3Storage) -> None:
    for request in (lambda s: s.put("caf\udce9.jpg", b""), lambda s: s.get("caf\udce9.jpg")):
        assert refused(request, bucket) == r"'s3://bucket/caf\udce9.jpg': is not UTF-8, as names in S3 must be"
    assert not store.requests


def test_an_answer_that_is_no_xml(store: OddStore, bucket: S3Storage) -> None:
    store.refusal = Refusal(200, page=b'{"version": "3.80"}', headers={"Content-Type": "application/json"})
    assert "is AWS_ENDPOINT_URL" in refused(REQUESTS["list"], bucket)


@pytest.mark.parametrize("address", ["s3:/bucket/train", "s3:bucket/train", "S3://bucket/train", "s3a://bucket/train"])
@pytest.mark.parametrize("command", [("data", "show"), ("bench",), ("predict", "a.jpg", "--model")])
def test_a_misspelled_address_is_no_folder(command: tuple[str, ...], address: str) -> None:
    result = run(*command, address)
    assert result.exit_code in (2, 3)
    (line,) = result.output.splitlines()
    assert f"{address}: is no address: write s3://bucket/train" in line
