"""The reader: every batch in its order for any number of threads, and nothing left behind, however it ends."""

import threading
import tracemalloc
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.picture import DamagedPictureError
from scenerec.data.reader import Reader, training_reader, validation_reader
from scenerec.data.recycled_memory import RecycledMemory
from scenerec.data.shard_window import FETCH_THREADS
from scenerec.data.stream import Cursor, EncodedBatch, TrainingOrder, training_batches
from scenerec.errors import DataError, StorageError
from scenerec.world import World
from tests.patience import PATIENCE_S

ORDER = TrainingOrder(seed=5, lanes=12, global_batch_size=20, epochs=2)
AUGMENT = AugmentConfig(color_jitter=0.4)
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None, Sequence[str], np.ndarray | None]


class Plain:
    """A framework of numpy's arrays."""

    def allocator(self) -> Callable[[tuple[int, ...]], np.ndarray]:
        return RecycledMemory().array

    def batch(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        colors: np.ndarray | None,
        names: Sequence[str],
        coordinates: np.ndarray | None,
    ) -> Batch:
        return images, labels, colors, names, coordinates


@pytest.fixture
def train(scenes: Path) -> PackedSet:
    return open_set(f"{scenes}/train")


def open_files() -> set[tuple[str, str]]:
    """Number and target of each: numbers are given away again."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # such as that of the folder itself
            found.add((file.name, str(file.readlink())))
    return found


def reader(data: PackedSet, threads: int, order: TrainingOrder = ORDER) -> Reader[np.ndarray, Batch]:
    config = DataConfig(train=data.storage.url, val=data.storage.url, image_size=32, augment=AUGMENT)
    return training_reader(Plain(), data, config, order, World(), Cursor(), threads)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No thread and no file that was not there before the test; those of earlier tests may end meanwhile."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    assert set(threading.enumerate()) <= threads
    assert open_files() <= files


def test_batches_do_not_depend_on_the_number_of_threads(train: PackedSet) -> None:
    alone = list(reader(train, 0))
    encoded = list(training_batches(train, ORDER, AUGMENT))
    assert len(alone) == len(encoded) == 10
    for threads in (1, 2, 3, 4):
        for ours, theirs, stream in zip(reader(train, threads), alone, encoded, strict=True):
            assert np.array_equal(ours[0], theirs[0])
            assert np.array_equal(ours[1], stream.labels) and ours[3] == stream.names
            assert ours[2] is not None and theirs[2] is not None and np.array_equal(ours[2], theirs[2])
            assert ours[0].shape == (20, 32, 32, 3)


def test_colours_are_left_alone_where_none_are_drawn(scenes: Path) -> None:
    data = open_set(f"{scenes}/val")
    config = DataConfig(train=f"{scenes}/train", val=f"{scenes}/val", image_size=32, augment=AUGMENT)
    batches = list(validation_reader(Plain(), data, config, World(1, 2), 7, 2))
    assert [len(images) for images, *_ in batches] == [7, 7, 4]
    assert all(colors is None for _, _, colors, _, _ in batches)


def test_twenty_epochs_have_the_threads_and_the_memory_of_one(train: PackedSet, request: pytest.FixtureRequest) -> None:
    tracemalloc.start()
    request.addfinalizer(tracemalloc.stop)
    order = TrainingOrder(seed=5, lanes=12, global_batch_size=50, epochs=20)
    threads, files, memory = [], [], []
    before = threading.active_count()
    of_a_reader = 1 + 2 + 1 + FETCH_THREADS  # the stream, two that decode, one that makes batches, those that fetch
    for _ in reader(train, 2, order):
        threads.append(threading.active_count())
        memory.append(tracemalloc.get_traced_memory()[0])
        files.append(len(open_files()))
    assert len(threads) == 40
    assert max(threads) <= before + of_a_reader
    assert mean(memory[20:]) <= 1.05 * mean(memory[10:20])  # how much is being fetched varies with the threads
    assert max(files) <= min(files) + 8  # shards that are being fetched


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_a_reader_that_is_closed_in_the_middle_ends_its_threads(train: PackedSet, taken: int) -> None:
    batches = iter(reader(train, 3))
    assert isinstance(batches, Generator)
    assert len(list(islice(batches, taken))) == taken
    batches.close()


def test_batches_are_made_while_the_last_one_is_used_but_not_without_end(train: PackedSet) -> None:
    begun: list[int] = []
    enough = threading.Event()

    def encoded() -> Generator[EncodedBatch, None, None]:
        for index, batch in enumerate(training_batches(train, ORDER, AUGMENT)):
            begun.append(index)
            if index == 3:
                enough.set()
            yield batch

    batches = iter(Reader(Plain(), encoded, lambda *_: np.zeros((32, 32, 3), np.uint8), 32, 1))
    next(batches)
    assert enough.wait(PATIENCE_S)
    batches.close()
    assert begun == [0, 1, 2, 3]


def test_what_the_stream_raises_comes_after_the_batches_before_it(train: PackedSet) -> None:
    def encoded() -> Generator[EncodedBatch, None, None]:
        yield from islice(training_batches(train, ORDER, AUGMENT), 2)
        raise StorageError("the store is gone")

    seen = []
    with pytest.raises(StorageError, match="the store is gone"):
        for images, *_ in Reader(Plain(), encoded, lambda *_: np.zeros((32, 32, 3), np.uint8), 32, 2):
            seen.append(len(images))
    assert seen == [20, 20]


def test_an_image_that_does_not_decode_is_named_at_its_batch_and_ends_the_threads(train: PackedSet) -> None:
    encoded = list(training_batches(train, ORDER, AUGMENT))
    bad = encoded[2].images[7]

    def decode(image: bytes, *_: object) -> np.ndarray:
        if image == bad:
            raise DamagedPictureError("cannot be decoded: it is torn")
        return np.zeros((32, 32, 3), np.uint8)

    batches = iter(Reader(Plain(), partial(training_batches, train, ORDER, AUGMENT), decode, 32, 3))
    assert len(list(islice(batches, 2))) == 2
    with pytest.raises(DataError, match=rf"{encoded[2].names[7]}: cannot be decoded: it is torn"):
        next(batches)
