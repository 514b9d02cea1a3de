from collections.abc import Callable
from pathlib import Path

import pytest
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.adoption.shard_names import MOST_SHARDS, expand_braces, find_shards
from scenerec.errors import DataError, StorageError

Touch = Callable[..., Path]

NAMES = st.text("ab-", max_size=3)
NUMBERS = st.sampled_from(["0", "3", "11", "003", "012", "7"])
RANGES = st.builds(lambda first, last: f"{{{first}..{last}}}", NUMBERS, NUMBERS)
LISTS = st.builds(lambda parts: f"{{{','.join(parts)}}}", st.lists(NAMES, min_size=2, max_size=3))


@pytest.fixture
def touch(tmp_path: Path) -> Touch:
    """Makes empty files below a folder."""

    def touch(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return touch


@given(st.lists(st.one_of(NAMES, RANGES, LISTS), max_size=4).map("".join))
def test_braces_mean_what_webdataset_reads_into_them(pattern: str) -> None:
    assert list(expand_braces(pattern)) == list(braceexpand(pattern))


def test_braces_in_braces() -> None:
    assert set(expand_braces("{train,val-{0..1}}.tar")) == {"train.tar", "val-0.tar", "val-1.tar"}


@pytest.mark.parametrize("pattern", ["a{1..}.tar", "a{b}.tar", "a{}.tar", "a{0..3.tar", "a0..3}.tar"])
def test_odd_braces_are_refused(pattern: str) -> None:
    with pytest.raises(DataError, match=r"is neither a range such as|brace without its other one"):
        find_shards([f"/shards/{pattern}"])


def test_more_shards_than_there_can_be_are_not_written_down() -> None:
    with pytest.raises(DataError, match=f"means more than {MOST_SHARDS:,} shards"):
        find_shards(["s3://scenes/{0..999999999999}.tar"])


def test_names_with_braces_need_not_be_there() -> None:
    keys = [f"shard-{index:03d}.tar" for index in range(147)]
    assert find_shards(["s3://scenes/a/shard-{000..146}.tar"]) == ("s3://scenes/a", keys)


def test_several_folders_have_one_above() -> None:
    base, keys = find_shards(["s3://scenes/a/x/{1..2}.tar", "s3://scenes/a/y/1.tar.gz", "s3://scenes/a/x/2.tar"])
    assert (base, keys) == ("s3://scenes/a", ["x/1.tar", "x/2.tar", "y/1.tar.gz"])


def test_wildcards_and_folders_are_looked_up(touch: Touch) -> None:
    folder = touch("train-1.tar", "train-0.tar", "val-0.tar", "old/train-9.tar", "notes.txt", "a.tgz")
    assert find_shards([f"{folder}/train-*.tar"]) == (str(folder), ["train-0.tar", "train-1.tar"])
    assert find_shards([f"{folder}/{{train,val}}-?.tar"])[1] == ["train-0.tar", "train-1.tar", "val-0.tar"]
    assert find_shards([f"{folder}/*/train-[0-9].tar"]) == (f"{folder}/old", ["train-9.tar"])
    assert find_shards([str(folder)])[1] == ["a.tgz", "train-0.tar", "train-1.tar", "val-0.tar"]


def test_a_folder_of_folders_is_no_set(touch: Touch) -> None:
    folder = touch("train/0.tar", "val/0.tar")
    with pytest.raises(DataError, match=r"no shard .* is in this folder: they lie in train, val: name one"):
        find_shards([str(folder)])
    with pytest.raises(DataError, match="there is no such shard"):
        find_shards([f"{folder}/train/*.tgz"])


def test_shards_of_two_places_are_no_set() -> None:
    for other in ("s3://other/1.tar", "/local/1.tar"):
        with pytest.raises(DataError, match="in several buckets, or in a bucket and on this machine"):
            find_shards(["s3://scenes/1.tar", other])
    with pytest.raises(StorageError, match="only s3:// addresses and local paths"):
        find_shards(["https://example.org/1.tar"])
