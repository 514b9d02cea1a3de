"""Shards that come by a bad way: every sample once all the same, or the name of the shard."""

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenerec.config.augment import AugmentConfig
from scenerec.data.byte_count import ByteCount
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.stream import TrainingOrder, training_batches
from scenerec.errors import DataError, NotFoundError
from scenerec.storage import Patience, patience, s3_download
from tests.clock import Clock, set_clock
from tests.faulty_proxy import Fault, FaultyProxy, faulty_store
from tests.odd_store import OddStore

ORDER = TrainingOrder(seed=5, lanes=12, global_batch_size=20, epochs=2)
ALTERED = Fault(altered_byte=700, path="000000.tar")
TRUNCATED = Fault(truncated_to_bytes=1024, path="000000.tar")


@pytest.fixture(scope="module")
def behind_proxy(scenes: Path) -> Iterator[tuple[OddStore, FaultyProxy]]:
    """A store with the drawn scenes."""
    with faulty_store() as (store, proxy):
        files = [file for file in (scenes / "train").iterdir() if file.is_file()]
        store.objects = {f"train/{file.name}": file.read_bytes() for file in files}
        yield store, proxy


@pytest.fixture
def proxy(behind_proxy: tuple[OddStore, FaultyProxy], monkeypatch: pytest.MonkeyPatch) -> FaultyProxy:
    monkeypatch.setattr(s3_download, "_CHUNK_BYTES", 1000)
    proxy = behind_proxy[1]
    proxy.fault = None
    return proxy


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch, patience)


@pytest.fixture
def train(proxy: FaultyProxy) -> PackedSet:
    data = open_set("s3://bucket/train", patience=Patience(300, say=lambda text: None))
    proxy.requests.clear()
    return data


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault(503, "SlowDown", times=7),
        Fault(500, "InternalError", times=7),
        Fault(cut_after_bytes=5000),
        Fault(cut_after_bytes=0, times=5),
        Fault(bytes_per_s=1e6),
        Fault(altered_byte=700, times=2),
        Fault(truncated_to_bytes=2000, times=2),
    ],
    ids=["SlowDown", "500", "cut", "cut at once", "slow", "altered", "truncated"],
)
def test_every_batch_is_what_it_would_have_been(
    scenes: Path, train: PackedSet, proxy: FaultyProxy, clock: Clock, fault: Fault
) -> None:
    undisturbed = training_batches(open_set(f"{scenes}/train"), ORDER, AugmentConfig())
    proxy.fault = fault
    for expected, batch in zip(undisturbed, training_batches(train, ORDER, AugmentConfig()), strict=True):
        assert batch.images == expected.images
        assert batch.labels.tolist() == expected.labels.tolist()
        assert batch.views == expected.views


@pytest.mark.parametrize("fault", [ALTERED, TRUNCATED], ids=["altered", "truncated"])
def test_what_arrives_damaged_is_fetched_twice_more(train: PackedSet, proxy: FaultyProxy, fault: Fault) -> None:
    proxy.fault = Fault(**{**fault.__dict__, "times": 2})
    size = train.manifest.shards[0].size_bytes
    assert len(train.read(0)) == train.manifest.shards[0].samples
    assert len(proxy.requests) == 3
    assert train.fetched.total_bytes == 2 * min(size, fault.truncated_to_bytes or size) + size
    proxy.fault = fault
    proxy.requests.clear()
    with pytest.raises(DataError, match=r"s3://bucket/train/000000\.tar: (checksum mismatch|1024 bytes)"):
        train.read(0)
    assert len(proxy.requests) == 3


def test_a_shard_that_is_not_there_is_not_waited_for(
    behind_proxy: tuple[OddStore, FaultyProxy], train: PackedSet, proxy: FaultyProxy, clock: Clock
) -> None:
    store = behind_proxy[0]
    content = store.objects.pop("train/000000.tar")
    with pytest.raises(NotFoundError, match=r"s3://bucket/train/000000\.tar: no such object"):
        train.read(0)
    store.objects["train/000000.tar"] = content
    assert (len(proxy.requests), clock.slept_s) == (1, [])


def test_threads_count_together_and_a_copy_begins_anew() -> None:
    count = ByteCount()
    threads = [threading.Thread(target=lambda: [count.add(3) for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.total_bytes == 24_000
    assert pickle.loads(pickle.dumps(count)).total_bytes == 0
