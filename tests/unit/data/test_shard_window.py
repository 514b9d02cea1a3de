"""What a reader fetches ahead and holds."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerec.config.augment import AugmentConfig
from scenerec.data.manifest import Manifest, Shard
from scenerec.data.order import EpochOrder, reader_lanes
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.shard import Sample
from scenerec.data.shard_window import ShardWindow, Span, held_shards
from scenerec.data.stream import TrainingOrder, training_batches
from scenerec.storage import open_storage
from tests.patience import wait_until


class CountingStorage:
    """A storage that counts what is read of it."""

    def __init__(self, url: str) -> None:
        self.inner = open_storage(url)
        self.url = url
        self.reads: Counter[str] = Counter()

    def get(self, key: str) -> bytes:
        self.reads[key] += 1
        return self.inner.get(key)


@pytest.fixture
def storage(scenes: Path) -> CountingStorage:
    return CountingStorage(f"{scenes}/train")


@pytest.fixture
def train(storage: CountingStorage) -> PackedSet:
    return PackedSet(storage, open_set(storage.url).manifest)  # type: ignore[arg-type]


def test_a_reader_fetches_a_shard_once_for_each_lane_at_most(train: PackedSet, storage: CountingStorage) -> None:
    order = TrainingOrder(seed=0, lanes=2, global_batch_size=10, epochs=1)
    assert len(list(training_batches(train, order, AugmentConfig()))) == 10
    assert sum(storage.reads.values()) <= len(train.manifest.shards) + 1


def test_the_next_epoch_begins_to_be_fetched_before_the_last_one_ends(
    train: PackedSet, storage: CountingStorage
) -> None:
    """With one lane an epoch fetches each shard once; the second's first shards come while the last is in use."""
    order = TrainingOrder(seed=0, lanes=1, global_batch_size=10, epochs=2)
    shards = len(train.manifest.shards)
    batches = training_batches(train, order, AugmentConfig())
    for _ in range(10):
        next(batches)
    wait_until(lambda: sum(storage.reads.values()) > shards, "a fetch of the next epoch")
    batches.close()
    assert sum(storage.reads.values()) <= shards + held_shards(1) - 1


class DrawnSet(PackedSet):
    """A set that is drawn rather than fetched: shard i has the samples `i/0`, `i/1` and so on."""

    def read(self, shard_index: int) -> list[Sample]:
        return [Sample(f"{shard_index}/{n}", b"", 0) for n in range(self.manifest.shards[shard_index].samples)]


def drawn_set(samples: list[int]) -> DrawnSet:
    shards = [Shard(key=f"{n}", size_bytes=1, sha256="0" * 64, samples=n, class_counts={0: n}) for n in samples]
    return DrawnSet(open_storage("/nowhere"), Manifest(classes=("beach",), shards=tuple(shards)))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 12), st.integers(1, 5))
def test_no_more_shards_are_held_than_it_says(samples: list[int], lanes: int, readers: int) -> None:
    """Also where all lanes come to the ends of their shards at once."""
    order = EpochOrder(tuple(samples), min(lanes, sum(samples)), 0, 0)
    allowed = reader_lanes(order.lanes, readers)
    for reader in range(readers):
        spans = (Span(*row) for row in order.passages(reader, readers).rows())
        with ShardWindow(drawn_set(samples), spans, allowed) as window:
            for position in range(reader, order.samples, readers):
                shards, places = order.locate(np.array([position]))
                taken, _ = window.take(np.array([position]), shards, places)
                assert [sample.key for sample in taken] == [f"{shards[0]}/{places[0]}"]
                assert len(window.shards) <= held_shards(allowed)
