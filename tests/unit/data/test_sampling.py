"""How often an epoch takes each sample: exact shares, and no sample of a class more than another."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.manifest import Manifest, Shard
from scenerec.data.sampling import EpochItems, Sampling, epoch_class_counts, share_out
from scenerec.data.shard import Sample

Counts = list[dict[int, int]]
"""Samples of each class, of each shard of a set."""

class_counts = st.dictionaries(st.integers(0, 4), st.integers(0, 12), min_size=1).filter(lambda c: sum(c.values()) > 0)
sets_of_shards = st.lists(st.lists(class_counts, min_size=1, max_size=5), min_size=1, max_size=3)
FROZEN_REPEATS = [1, 1, 1, 0, 1, 1, 0, 1, 2, 1, 1, 1, 1, 1, 0, 1, 3]

balances = st.sampled_from([0.0, 0.3, 0.5, 1.0])


def shards(counts: Counts) -> list[Shard]:
    return [
        Shard(key=f"{n}.tar", size_bytes=1, sha256="0" * 64, samples=sum(each.values()), class_counts=each)
        for n, each in enumerate(counts)
    ]


def sampling(sets: list[Counts], balance: float = 0.0, weights: list[float] | None = None, seed: int = 0) -> Sampling:
    return Sampling([shards(counts) for counts in sets], weights or [1.0] * len(sets), balance, seed)


def content(counts: dict[int, int]) -> list[Sample]:
    """A shard's samples, the classes mixed."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    mixed = np.random.default_rng(0).permutation(labels).tolist()
    return [Sample(str(number), b"", label) for number, label in enumerate(mixed)]


def taken(sets: list[Counts], items: EpochItems) -> Counter[tuple[int, int, int, int]]:
    """How often an epoch takes each sample: by set, class, shard and index."""
    found = Counter[tuple[int, int, int, int]]()
    located = [(number, counts) for number, of_set in enumerate(sets) for counts in of_set]
    for shard, (number, counts) in enumerate(located):
        samples = content(counts)
        indices = items.sample_indices(shard, samples).tolist()
        assert len(indices) == items.shard_items[shard]
        for index, sample in enumerate(samples):
            found[number, sample.label, shard, index] = indices.count(index)
    return found


@given(sets_of_shards, balances, st.integers(0, 9))
def test_the_images_of_a_class_are_counted_without_an_epoch(sets: list[Counts], balance: float, epoch: int) -> None:
    weights = [1.0, 2.5, 0.1][: len(sets)]
    found = Counter[int]()
    for (_, label, _, _), times in taken(sets, sampling(sets, balance, weights).epoch(epoch)).items():
        found[label] += times
    manifests = [Manifest(classes=tuple("abcde"), shards=tuple(shards(counts))) for counts in sets]
    assert epoch_class_counts(manifests, weights, balance).tolist() == [found[label] for label in range(5)]


@given(sets_of_shards, balances, st.integers(0, 9), st.data())
def test_classes_and_sets_get_their_shares(sets: list[Counts], balance: float, epoch: int, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.sampled_from([1.0, 2.5, 0.1]), min_size=len(sets), max_size=len(sets)))
    found = taken(sets, sampling(sets, balance, weights).epoch(epoch))
    total = sum(sum(counts.values()) for of_set in sets for counts in of_set)
    assert sum(found.values()) == total
    for number, of_set in enumerate(sets):
        sizes = sum((Counter(counts) for counts in of_set), Counter[int]())
        powers = {label: size ** (1 - balance) for label, size in sizes.items() if size}
        of_set = sum(count for key, count in found.items() if key[0] == number)
        assert abs(of_set - total * Fraction(weights[number]) / sum(map(Fraction, weights))) < 1
        for label, power in powers.items():
            items = sum(count for key, count in found.items() if key[:2] == (number, label))
            expected = of_set * power / sum(powers.values())
            assert items == pytest.approx(expected, abs=1.001)


@given(sets_of_shards, balances, st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_samples_of_a_class_come_equally_often(sets: list[Counts], balance: float, seed: int, epochs: int) -> None:
    of_run, found = sampling(sets, balance, seed=seed), Counter[tuple[int, int, int, int]]()
    for epoch in range(epochs):
        found.update(taken(sets, of_run.epoch(epoch)))
        by_class: dict[tuple[int, int], list[int]] = {}
        for (number, label, _, _), count in found.items():
            by_class.setdefault((number, label), []).append(count)
        assert all(max(counts) - min(counts) <= 1 for counts in by_class.values())


@given(st.lists(class_counts, min_size=1, max_size=5), st.integers(0, 9))
def test_without_balance_each_sample_comes_once(counts: Counts, epoch: int) -> None:
    assert sampling([counts]).epoch(epoch).repeats.tolist() == [1] * sum(sum(each.values()) for each in counts)


def test_full_balance_takes_as_many_of_each_class() -> None:
    counts = [{0: 50, 1: 6}, {0: 40, 1: 3, 2: 1}]
    found = taken([counts], sampling([counts], balance=1).epoch(3))
    of_class = [sum(count for key, count in found.items() if key[1] == label) for label in range(3)]
    assert sorted(of_class) == [33, 33, 34]
    assert max(count for key, count in found.items() if key[1] == 0) == 1


def test_what_is_left_out_is_spread_over_the_shards() -> None:
    """Of a class that is in all shards, of which an epoch takes 1100 in 2000, each shard gives some 55 in 100."""
    counts = [{0: 100, 1: 10} for _ in range(20)]
    items = sampling([counts], balance=1).epoch(0)
    of_shard = [int(items.repeats[start : start + 100].sum()) for start in items.shard_starts]
    assert 52 <= min(of_shard) <= max(of_shard) <= 58


def test_seeds_and_epochs_differ() -> None:
    counts = [{0: 40, 1: 4}]
    first = sampling([counts], balance=1).epoch(0).repeats.tolist()
    assert sampling([counts], balance=1).epoch(1).repeats.tolist() != first
    assert sampling([counts], balance=1, seed=1).epoch(0).repeats.tolist() != first


def test_the_choice_is_frozen() -> None:
    """A resume must find the choice that the run began with, in every later version."""
    items = sampling([[{0: 8, 1: 3}, {0: 5, 2: 1}]], balance=0.5, seed=7).epoch(2)
    assert items.repeats.tolist() == FROZEN_REPEATS


@given(st.integers(0, 1000), st.lists(st.integers(0, 50), min_size=1, max_size=9).filter(any))
def test_shares_add_up(total: int, weights: list[int]) -> None:
    parts = share_out(total, {number: Fraction(weight) for number, weight in enumerate(weights)})
    assert sum(parts.values()) == total
    assert all(abs(parts[number] - Fraction(total * weight, sum(weights))) < 1 for number, weight in enumerate(weights))
