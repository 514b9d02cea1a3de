"""The bundles of a node: what is kept, and what makes way, while several processes use them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from scenerec.errors import BundleError, StorageError
from serve.rollout.assignment import Placement
from serve.rollout.bundle_cache import digest_of, open_placement
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def placements(tmp_path: Path) -> list[Placement]:
    """Four versions of one size."""
    urls = [str(make_tiny_bundle(tmp_path / str(number), scale=number / 10).folder) for number in (1, 2, 3, 4)]
    return [Placement("tiny", str(number), url, digest_of(url)) for number, url in enumerate(urls, 1)]


@pytest.fixture
def cache(tmp_path: Path, placements: list[Placement], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has room for two of them, and something of somebody else's."""
    size = sum(file.stat().st_size for file in Path(placements[0].url).iterdir())
    monkeypatch.setenv("SCENEREC_BUNDLE_CACHE_GB", str(2.5 * size / 1e9))
    (tmp_path / "cache" / "others").mkdir(parents=True)
    (tmp_path / "cache" / "others" / "file").write_bytes(bytes(10 * size))
    return tmp_path / "cache"


def kept(cache: Path, placements: list[Placement]) -> list[str]:
    """The numbers of those that lie whole in the cache."""
    assert (cache / "others" / "file").exists()
    return [each.number for each in placements if (cache / each.digest[:32] / "bundle.json").exists()]


def use(placement: Placement, cache: Path, opened_s: int) -> None:
    """Opens a version and is done with it; as if at a time in seconds."""
    open_placement(placement, cache)
    os.utime(cache / placement.digest[:32], (opened_s, opened_s))


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        ["flock", "--shared", "--no-fork", folder, "sh", "-c", "echo held; exec sleep 600"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_what_was_opened_longest_ago_makes_way(placements: list[Placement], cache: Path) -> None:
    for opened_s, index in enumerate((0, 1, 0)):
        use(placements[index], cache, opened_s)
    use(placements[2], cache, 3)
    assert kept(cache, placements) == ["1", "3"]
    use(placements[3], cache, 4)
    assert kept(cache, placements) == ["3", "4"]


def test_what_is_in_use_stays_however_much_there_is(placements: list[Placement], cache: Path) -> None:
    used = [open_placement(each, cache) for each in placements[:3]]
    assert kept(cache, placements) == ["1", "2", "3"]
    assert all(bundle.golden.images.size for bundle in used)
    del used[1]
    use(placements[3], cache, 9)
    assert kept(cache, placements) == ["1", "3", "4"]


def test_what_another_process_uses_stays_until_that_is_killed(placements: list[Placement], cache: Path) -> None:
    use(placements[0], cache, 0)
    with held_by_another_process(cache / placements[0].digest[:32]) as process:
        use(placements[1], cache, 1)
        use(placements[2], cache, 2)
        assert kept(cache, placements) == ["1", "3"]
        process.kill()
    use(placements[3], cache, 3)
    assert kept(cache, placements) == ["3", "4"]


def test_what_a_killed_fetch_has_left_makes_way_too(placements: list[Placement], cache: Path) -> None:
    use(placements[0], cache, 0)
    folder = cache / placements[0].digest[:32]
    (folder / "bundle.json").unlink()
    os.utime(folder, (0, 0))
    for opened_s, placement in enumerate(placements[1:], 1):
        use(placement, cache, opened_s)
    assert not folder.exists()
    assert kept(cache, placements) == ["3", "4"]


def test_nothing_goes_under_the_hands_of_those_who_open_at_once(placements: list[Placement], cache: Path) -> None:
    def work(worker: int) -> None:
        for turn in range(12):
            placement = placements[(worker + turn * (worker + 1)) % 4]
            bundle = open_placement(placement, cache)
            assert bundle.model_file.exists() and bundle.golden.logits.size
            assert digest_of(str(bundle.folder)) == placement.digest

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    shutil.rmtree(cache / placements[0].digest[:32], ignore_errors=True)
    use(placements[0], cache, 9)
    assert "1" in (left := kept(cache, placements)) and len(left) <= 2


def test_a_folder_that_cannot_be_used_condemns_no_bundle(placements: list[Placement], cache: Path) -> None:
    with pytest.raises(StorageError, match=r"others/file: .*: set SCENEREC_BUNDLE_CACHE to a folder of this node"):
        open_placement(placements[0], cache / "others" / "file")


def test_a_limit_that_is_no_number_is_refused(
    placements: list[Placement], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCENEREC_BUNDLE_CACHE_GB", "much")
    with pytest.raises(BundleError, match="SCENEREC_BUNDLE_CACHE_GB much: is no number of GB"):
        open_placement(placements[0], cache)
