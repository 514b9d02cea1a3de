"""The cache that a node's workers share: each shard fetched once, by whomever, and never a wrong byte."""

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import CacheConfig
from scenerec.data.lanes import fetched_share
from scenerec.data.order import permutation
from scenerec.data.packed_set import open_set
from scenerec.data.shard_cache import ShardCache
from scenerec.data.stream import Cursor, TrainingOrder, training_batches
from scenerec.errors import DataError, StorageError

SHARDS = [bytes([n]) * 1000 for n in range(8)]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parse(wanted: str, content: bytes) -> bytes:
    if sha256(content) != wanted:
        raise DataError("checksum mismatch")
    return content


def get(cache: ShardCache, content: bytes, fetch: Callable[[], bytes]) -> bytes:
    return cache.get(sha256(content), fetch, partial(parse, sha256(content)))


def never() -> bytes:
    raise AssertionError("is in the cache")


def kept(cache: ShardCache) -> list[bytes]:
    return sorted(path.read_bytes() for path in cache.folder.glob("*.*"))


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache", size_bytes=4000)


def test_a_shard_is_fetched_once(cache: ShardCache) -> None:
    assert get(cache, SHARDS[0], lambda: SHARDS[0]) == SHARDS[0]
    assert get(cache, SHARDS[0], never) == SHARDS[0]


def test_what_was_not_used_longest_goes_first(cache: ShardCache) -> None:
    for shard in SHARDS[:4]:
        get(cache, shard, lambda shard=shard: shard)  # type: ignore[misc]
    os.utime(cache.folder / f"{sha256(SHARDS[1])}.tar", (1, 1))
    os.utime(cache.folder / f"{sha256(SHARDS[0])}.tar", (0, 0))
    get(cache, SHARDS[0], never)
    get(cache, SHARDS[4], lambda: SHARDS[4])
    assert kept(cache) == [SHARDS[0], *SHARDS[2:5]]


def test_what_is_larger_than_the_cache_is_not_kept(cache: ShardCache) -> None:
    get(cache, SHARDS[0], lambda: SHARDS[0])
    assert get(cache, bytes(4001), lambda: bytes(4001)) == bytes(4001)
    assert kept(cache) == [SHARDS[0]]


@pytest.mark.parametrize("damage", [SHARDS[1], b"", SHARDS[0][:500]])
def test_a_damaged_copy_is_fetched_again(cache: ShardCache, damage: bytes) -> None:
    get(cache, SHARDS[0], lambda: SHARDS[0])
    (cache.folder / f"{sha256(SHARDS[0])}.tar").write_bytes(damage)
    assert get(cache, SHARDS[0], lambda: SHARDS[0]) == SHARDS[0]
    assert kept(cache) == [SHARDS[0]]


def test_what_is_fetched_damaged_is_not_kept(cache: ShardCache) -> None:
    with pytest.raises(DataError, match="checksum"):
        get(cache, SHARDS[0], lambda: SHARDS[1])
    assert kept(cache) == []


def test_a_fetch_that_fails_leaves_the_turn_to_the_next(cache: ShardCache) -> None:
    def fail() -> bytes:
        raise StorageError("gone")

    with pytest.raises(StorageError, match="gone"):
        get(cache, SHARDS[0], fail)
    assert get(cache, SHARDS[0], lambda: SHARDS[0]) == SHARDS[0]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data\.cache\.folder: .*/file/cache: Not a directory: name a folder"):
        get(ShardCache(tmp_path / "file/cache", 4000), SHARDS[0], lambda: SHARDS[0])


def test_a_disk_that_takes_nothing_costs_only_the_copy(cache: ShardCache) -> None:
    get(cache, SHARDS[0], lambda: SHARDS[0])
    (cache.folder / f"{sha256(SHARDS[1])}.unfinished").mkdir()  # no file can be written there
    assert get(cache, SHARDS[1], lambda: SHARDS[1]) == SHARDS[1]
    assert get(cache, SHARDS[0], never) == SHARDS[0]


def logged(log: Path, content: bytes) -> bytes:
    """Fetches, and says so in a file of all processes."""
    with log.open("ab") as file:
        file.write(content[:1])
    return content


def read_all(cache: ShardCache, log: Path, first: int) -> bool:
    """Reads all shards from `first` on round, in four threads; whether all were right."""
    shards = SHARDS[first:] + SHARDS[:first]
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda shard: get(cache, shard, partial(logged, log, shard)), shards)) == shards


def die(cache: ShardCache, ended: Path) -> None:
    def fetch() -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    (cache.folder / f"{sha256(SHARDS[0])}.unfinished").write_bytes(SHARDS[0][:100])
    get(cache, SHARDS[0], fetch)
    ended.touch()


@pytest.fixture(scope="module", autouse=True)
def found_by_processes() -> Iterator[None]:
    """Processes that are spawned have this one's path, and a package that is installed has tests of the same name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[3])
        yield


@pytest.fixture(scope="module")
def processes(found_by_processes: None) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


def test_several_processes_fetch_each_shard_once(processes: ProcessPoolExecutor, tmp_path: Path) -> None:
    cache, log = ShardCache(tmp_path / "cache", size_bytes=8000), tmp_path / "log"
    assert all(processes.map(partial(read_all, cache, log), [0, 4]))
    assert sorted(log.read_bytes()) == list(range(8))
    assert kept(cache) == SHARDS


def test_several_processes_keep_the_size_of_a_cache_that_is_too_small(
    processes: ProcessPoolExecutor, cache: ShardCache
) -> None:
    assert all(processes.map(partial(read_all, cache, cache.folder.parent / "log"), [0, 4]))
    assert len(kept(cache)) == 4


def test_a_process_that_is_killed_blocks_nobody(cache: ShardCache) -> None:
    get(cache, SHARDS[1], lambda: SHARDS[1])
    ended = cache.folder.parent / "ended"
    process = multiprocessing.get_context("spawn").Process(target=die, args=(cache, ended))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and not ended.exists()
    assert get(cache, SHARDS[0], lambda: SHARDS[0]) == SHARDS[0]
    get(cache, SHARDS[2], lambda: SHARDS[2])
    assert kept(cache) == SHARDS[:3]


def fetched_in_an_epoch(url: str, order: TrainingOrder, caches: Sequence[CacheConfig | None]) -> float:
    """Bytes that workers have fetched, each with its cache, over those of the set."""
    workers = [open_set(url, cache=cache) for cache in caches]
    for rank, data in enumerate(workers):
        assert sum(1 for _ in training_batches(data, order, AugmentConfig(), Cursor(), rank, len(workers))) == 5
    return sum(data.fetched.total_bytes for data in workers) / workers[0].manifest.size_bytes


@pytest.mark.parametrize("lanes", [4, 12])
def test_workers_fetch_what_the_plan_says(scenes: Path, tmp_path: Path, lanes: int) -> None:
    """Four workers: alone, on two nodes, on one."""
    url, order = f"{scenes}/train", TrainingOrder(seed=1, lanes=lanes, global_batch_size=20, epochs=1)
    nodes = [CacheConfig(folder=str(tmp_path / name), size_gb=0.01) for name in "abc"]
    manifest = open_set(url).manifest
    shuffled = permutation(len(manifest.shards), order.seed, 0, 0)
    samples, sizes = manifest.shard_samples[shuffled].tolist(), manifest.shard_bytes[shuffled].tolist()
    alone = fetched_in_an_epoch(url, order, [None] * 4)
    assert 1 < alone <= fetched_share(samples, sizes, lanes, 4)
    two = fetched_in_an_epoch(url, order, [nodes[0], nodes[0], nodes[1], nodes[1]])
    assert two == pytest.approx(fetched_share(samples, sizes, lanes, 4, nodes=2))
    assert fetched_in_an_epoch(url, order, [nodes[2]] * 4) == 1
    assert fetched_in_an_epoch(url, order, [nodes[2]] * 4) == 0  # the next epoch
