"""Damaged answers of a store and of a web server, for all that asks them."""

import io
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path

import pytest

from scenerec.commands import image_source
from scenerec.errors import ScenerecError
from scenerec.models.weights import download
from scenerec.storage import Patience, S3Storage, Storage, patience
from tests.answer_fuzz import serve_damaged
from tests.clock import set_clock
from tests.image_fuzz import Outcome
from tests.mutated_bodies import changed
from tests.odd_store import OddStore

REQUESTS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("key"),
    "get_range": lambda storage: storage.get_range("key", 0, 4),
    "get_versioned": lambda storage: storage.get_versioned("key"),
    "put": lambda storage: storage.put("key", b"content"),
    "put a file": lambda storage: storage.put("key", Path(__file__)),
    "put_if": lambda storage: storage.put_if("key", b"content", None),
    "size": lambda storage: storage.size("key"),
    "list": lambda storage: list(storage.list()),
    "folders": lambda storage: list(storage.folders()),
    "delete": lambda storage: storage.delete("key"),
}
"""All that a storage can be asked."""

_STATUSES = (200, 204, 206, 301, 302, 307, 400, 401, 403, 404, 405, 409, 412, 416, 429, 500, 501, 503, 507, 999)
_HEADERS: tuple[Mapping[str, str], ...] = (
    *({"Content-Type": "text/html"}, {"Content-Encoding": "gzip"}, {"ETag": ""}, {"ETag": "x"}, {"Expires": "x"}),
    *({"Last-Modified": "never"}, {"Last-Modified": "Mon, 99 Foo 2020"}, {"Location": "http://[bad"}),
    *({"x-amz-bucket-region": "eu-west-1"}, {"x-amz-meta-a": "\xe9"}, {"x-amz-checksum-crc32": "AAAA"}),
    *({"x-amz-delete-marker": "maybe"}, {"x-amz-missing-meta": "abc"}, {"Content-Range": "bytes x"}),
)


class DamagingStore(OddStore):
    """Damages what it answers: the body, the status, the headers."""

    draw = random.Random()

    def answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """What the store would say, damaged."""
        status, told, content = super().answer(method, path, query, headers, body)
        if self.draw.random() < 0.5:
            content = changed(self.draw, content)
        if self.draw.random() < 0.2:
            status = self.draw.choice(_STATUSES)
        if self.draw.random() < 0.3:
            told = {**told, **self.draw.choice(_HEADERS)}
        return status, told, b"" if status == 204 else content


def fuzz_store(count: int, seed: int) -> Outcome:
    """Asks so often; what comes is a result, or a StorageError in one line."""
    with pytest.MonkeyPatch.context() as patch, DamagingStore() as store:
        set_clock(patch, patience)
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ENDPOINT_URL", store.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        storage = S3Storage("bucket", patience=Patience(budget_s=0.1))
        store.draw = random.Random(seed)
        found, outcomes = Outcome(), Counter[str]()
        for _ in range(count):
            store.objects = {"key": b"0123456789", "a/b": b"1", "c": b"", "d": b"2", "e": b"3"}
            name = store.draw.choice(list(REQUESTS))
            _note(found, outcomes, name, partial(REQUESTS[name], storage))
    found.outcomes = dict(outcomes.most_common())
    return found


def fuzz_downloads(count: int, seed: int) -> Outcome:
    """Fetches weights and pictures so often; what comes is a file, or an error in one line."""
    found, outcomes = Outcome(), Counter[str]()
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as folder,
        serve_damaged(seed) as address,
    ):
        patch.setattr(download, "ATTEMPTS", 1)
        for _ in range(count):
            with redirect_stderr(io.StringIO()):
                _note(found, outcomes, "weights", lambda: download.download(f"http://{address}/a", Path(folder) / "a"))
            _note(found, outcomes, "picture", lambda: image_source.read_image(f"http://{address}/a"))
    found.outcomes = dict(outcomes.most_common())
    return found


def _note(found: Outcome, outcomes: Counter[str], name: str, request: Callable[[], object]) -> None:
    try:
        request()
        outcome, problem = "ok", ""
    except ScenerecError as error:
        outcome, problem = type(error).__name__, "" if str(error).isprintable() else repr(str(error))
    except Exception as error:
        outcome = problem = repr(error)
    outcomes[outcome] += 1
    if problem:
        found.wrong.append(f"{name}: {problem[:500]}")
