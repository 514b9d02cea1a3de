"""S3Storage through a proxy that does what networks and stores do on bad days."""

import random
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.errors import NotFoundError, StorageError
from scenerec.job_log import Note, parse_line
from scenerec.storage import Patience, S3Storage, Storage, patience, s3_download, s3_endpoint
from scenerec.storage.patience import LONGEST_PAUSE_S, Wait, pause_s, say_in_log
from tests.clock import Clock, set_clock
from tests.faulty_proxy import Fault, FaultyProxy, faulty_store
from tests.odd_store import OddStore
from tests.patience import PATIENCE_S, wait_until
from tests.store_fuzz import REQUESTS

CONTENT = random.Random(0).randbytes(10_000)


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[tuple[OddStore, FaultyProxy]]:
    with faulty_store() as both, pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_download, "_CHUNK_BYTES", 1000)
        yield both


@pytest.fixture(scope="module")
def connected(behind_proxy: tuple[OddStore, FaultyProxy]) -> S3Storage:
    """By one client for all tests: a new one takes a quarter of a second."""
    return S3Storage("bucket")


@pytest.fixture
def store(behind_proxy: tuple[OddStore, FaultyProxy]) -> OddStore:
    """The store behind the proxy, which holds `key`."""
    store, _ = behind_proxy
    store.objects, store.habits = {"key": CONTENT}, frozenset()
    return store


@pytest.fixture
def proxy(store: OddStore, behind_proxy: tuple[OddStore, FaultyProxy], monkeypatch: pytest.MonkeyPatch) -> FaultyProxy:
    """The proxy, of which nothing has been said."""
    _, proxy = behind_proxy
    monkeypatch.setattr(patience, "_NEWS", {})
    proxy.fault = None
    proxy.requests.clear()
    return proxy


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def bucket(connected: S3Storage, proxy: FaultyProxy, said: list[str]) -> S3Storage:
    """The bucket as a training job sees it."""
    connected.patience = Patience(budget_s=300, say=said.append)
    return connected


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch, patience)


class Ending(Clock):
    """A clock at a certain time of which something ends."""

    def __init__(self, at_s: float, end: Callable[[], None]) -> None:
        super().__init__()
        self.at_s, self.end = at_s, end

    def sleep(self, seconds: float) -> None:
        """Returns at once."""
        super().sleep(seconds)
        if self.now_s >= self.at_s:
            self.at_s = float("inf")
            self.end()


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_double_up_to_the_longest(failures: int, draw: float) -> None:
    pause = pause_s(failures, draw)
    assert 0.25 <= pause <= LONGEST_PAUSE_S
    assert pause_s(failures + 1, 0) >= pause_s(failures, 0)
    assert pause_s(failures, draw) <= 2 * pause_s(failures, 0)


@given(st.floats(0, 1000), st.lists(st.integers(0, 3), max_size=30))
def test_a_budget_is_spent_to_its_end_after_the_last_progress(budget_s: float, progress: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = set_clock(patch, patience)
        wait = Wait(Patience(budget_s, say=lambda text: None), "bucket")
        received = last_progress_s = 0.0
        for more in progress:
            last_progress_s = clock.now_s if more else last_progress_s
            received += more
            if not wait.again("away", int(received)):
                break
        while wait.again("away", int(received)):
            pass
    assert clock.now_s == pytest.approx(last_progress_s + budget_s)


@pytest.mark.parametrize("seconds", [10, 60, 300])
@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_store_that_goes_is_waited_for(
    proxy: FaultyProxy,
    bucket: S3Storage,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    request_name: str,
    seconds: int,
) -> None:
    REQUESTS["size"](bucket)  # so that there is a connection to lose
    monkeypatch.setattr(patience, "time", Ending(seconds, proxy.come_back))
    proxy.leave()
    REQUESTS[request_name](bucket)
    assert 2 + seconds // 60 <= len(said) <= 2 + seconds // 30
    for text in said[:-1]:
        assert f"cannot reach {proxy.url}: is the store up, and AWS_ENDPOINT_URL right?; waiting since " in text
        assert text.endswith(" s, up to 300 s")
    assert "the store answers again, after " in said[-1]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(500, "InternalError"), "InternalError"),
        (Fault(503, "SlowDown"), "SlowDown"),
        (Fault(503), "answers 503 without S3's words"),
        (Fault(429, "TooManyRequests"), "TooManyRequests"),
        (Fault(400, "RequestTimeout"), "RequestTimeout"),
    ],
)
def test_answers_that_may_pass_are_waited_out(
    proxy: FaultyProxy,
    bucket: S3Storage,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    reason: str,
) -> None:
    def mend() -> None:
        proxy.fault = None

    monkeypatch.setattr(patience, "time", Ending(30, mend))
    proxy.fault = fault
    assert bucket.get("key") == CONTENT
    assert reason in said[0]
    assert "answers again" in said[-1]


def test_a_store_that_hangs_is_asked_again(
    proxy: FaultyProxy, bucket: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs is not waited for; what is answered is, however slow the machine."""
    hurried = S3Storage("bucket", patience=bucket.patience)

    class OnceAsked(Clock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            wait_until(lambda: len(proxy.requests) == len(self.slept_s))
            if len(self.slept_s) == 2:
                hurried._client = bucket.client

    clock = OnceAsked()
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(s3_endpoint, "READ_TIMEOUT_S", 0.2)
    proxy.fault = Fault(hangs=True, times=2)
    assert hurried.get("key") == CONTENT
    assert len(clock.slept_s) == 2


def test_patience_comes_to_its_end(proxy: FaultyProxy, bucket: S3Storage, clock: Clock) -> None:
    proxy.leave()
    for budget_s in (0, 3.5, 300):
        bucket.patience = Patience(budget_s, say=lambda text: None)
        clock.now_s = 0
        with pytest.raises(StorageError, match=r"^s3://bucket/key: cannot reach"):
            bucket.get("key")
        assert clock.now_s == pytest.approx(budget_s)
    proxy.come_back()


@pytest.mark.parametrize("fault", [Fault(403, "AccessDenied"), Fault(404, "NoSuchKey"), Fault(404, "NoSuchBucket")])
def test_what_will_not_pass_is_not_waited_for(
    proxy: FaultyProxy, bucket: S3Storage, clock: Clock, fault: Fault
) -> None:
    proxy.fault = fault
    with pytest.raises(StorageError):
        bucket.get("key")
    assert not clock.slept_s
    assert len(proxy.requests) == 1


def test_of_many_that_wait_one_speaks(
    proxy: FaultyProxy, bucket: S3Storage, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is back when all of them wait."""
    asleep = threading.Barrier(8 + 1)

    class UntilAllSleep(Clock):
        def sleep(self, seconds: float) -> None:
            asleep.wait(PATIENCE_S)

    monkeypatch.setattr(patience, "time", UntilAllSleep())
    bucket.patience = Patience(60, quiet_s=0, say=said.append)
    proxy.leave()
    threads = [threading.Thread(target=bucket.get, args=("key",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: asleep.n_waiting == 8)
    proxy.come_back()
    asleep.wait(PATIENCE_S)
    for thread in threads:
        thread.join()
    assert ["answers again" in text for text in said] == [False, True]


def test_one_of_many_workers_is_quieter_and_says_who_it_is(
    proxy: FaultyProxy, bucket: S3Storage, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.patience = bucket.patience.quieter("worker 3")
    for seconds, words in ((40, 0), (120, 2)):
        monkeypatch.setattr(patience, "time", Ending(seconds, proxy.come_back))
        proxy.leave()
        bucket.get("key")
        assert len(said) == words
    assert all(text.endswith(" (worker 3)") for text in said)


def test_the_log_shows_it_as_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    say_in_log("s3://bucket: the store answers again, after 12 s")
    assert parse_line(capsys.readouterr().out) == Note("s3://bucket: the store answers again, after 12 s")


READS: dict[str, tuple[Callable[[Storage], object], bytes]] = {
    "get": (lambda storage: storage.get("key"), CONTENT),
    "get_range": (lambda storage: storage.get_range("key", 500, 9000), CONTENT[500:9500]),
    "get_versioned": (lambda storage: (storage.get_versioned("key") or (b"",))[0], CONTENT),
}


@pytest.mark.parametrize("read", READS)
def test_a_body_that_breaks_off_goes_on_where_it_broke(
    proxy: FaultyProxy, bucket: S3Storage, clock: Clock, read: str
) -> None:
    request, content = READS[read]
    proxy.fault = Fault(cut_after_bytes=2500)
    assert request(bucket) == content
    firsts = [int(wanted.removeprefix("bytes=").split("-")[0] or 0) for _, _, wanted in proxy.requests]
    assert all(2000 <= second - first <= 2500 for first, second in pairwise(firsts))
    assert len(firsts) <= 5


def test_every_break_with_progress_is_forgiven(proxy: FaultyProxy, bucket: S3Storage, clock: Clock) -> None:
    bucket.patience = Patience(budget_s=1)
    proxy.fault = Fault(cut_after_bytes=1000)
    assert bucket.get("key") == CONTENT
    assert clock.now_s > 2
    proxy.fault = Fault(cut_after_bytes=0)
    with pytest.raises(StorageError, match=r"^s3://bucket/key: "):
        bucket.get("key")


@pytest.mark.parametrize("habit", ["", "conditions-ignored", "whole-ranges", "weak-etags"])
@pytest.mark.parametrize("length", [10_000, 4_000, 1_000])
def test_pieces_of_two_versions_are_never_mixed(
    proxy: FaultyProxy,
    bucket: S3Storage,
    store: OddStore,
    monkeypatch: pytest.MonkeyPatch,
    habit: str,
    length: int,
) -> None:
    other = bytes(byte ^ 0xFF for byte in CONTENT[:length])

    def replace() -> None:
        store.objects["key"] = other

    store.habits = frozenset({habit})
    monkeypatch.setattr(patience, "time", Ending(0.1, replace))
    proxy.fault = Fault(cut_after_bytes=4500, times=1)
    content, version = bucket.get_versioned("key") or (b"", "")
    assert content == other
    assert version == store._etag("key").removeprefix("W/")


@pytest.mark.parametrize("habit", ["whole-ranges", "weak-etags"])
def test_a_range_of_a_store_that_knows_none_breaks_off(
    proxy: FaultyProxy, bucket: S3Storage, store: OddStore, clock: Clock, habit: str
) -> None:
    store.habits = frozenset({habit})
    proxy.fault = Fault(cut_after_bytes=2500, times=2)
    assert bucket.get_range("key", 500, 9000) == CONTENT[500:9500]


def test_a_slow_store_is_no_absent_one(proxy: FaultyProxy, bucket: S3Storage, clock: Clock) -> None:
    proxy.fault = Fault(bytes_per_s=50_000)
    assert bucket.get("key") == CONTENT
    assert not clock.slept_s


def test_what_is_gone_when_the_store_is_back(proxy: FaultyProxy, bucket: S3Storage, store: OddStore) -> None:
    del store.objects["key"]
    with pytest.raises(NotFoundError):
        bucket.get("key")
