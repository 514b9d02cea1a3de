"""What features are worth on a labelled set: of features that each rank has made of its share of the images. Pure."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from typing_extensions import override

from scenerec.config.pretrain import PretrainConfig
from scenerec.data.stream import TrainingOrder
from scenerec.training.embeddings import effective_rank, embedding_std, knn_accuracy, linear_probe_accuracy
from scenerec.training.task import PretrainingCounts
from scenerec.world import World

BATCH_SIZE = 32
"""Labelled images that are let through the network at once."""
VALIDATION_EPOCH = 1_000_000
"""The epoch whose views validation takes: training has none of so high a number."""

_VALIDATION_PAIRS = 512

Pair = TypeVar("Pair")
SumOverRanks = Callable[[np.ndarray], np.ndarray]


class Features(NamedTuple):
    """Of some labelled images."""

    rows: np.ndarray
    """float32 [n, features]."""
    labels: np.ndarray
    """Class indices, int64 [n]."""


def joined(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Features:
    """The features of batches of (rows, labels); there may be none."""
    made = list(batches)
    if not made:
        return Features(np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
    rows, labels = zip(*made, strict=True)
    return Features(np.concatenate(rows), np.concatenate(labels))


class FirstBatches(Iterable[Pair], Generic[Pair]):
    """The first batches of a stream, the same at each iteration."""

    def __init__(self, begin: Callable[[], Generator[Pair, None, None]], count: int) -> None:
        self.begin, self.count = begin, count

    @override
    def __iter__(self) -> Generator[Pair, None, None]:
        with closing(self.begin()) as stream:
            yield from islice(stream, self.count)


def validation_order(order: TrainingOrder) -> TrainingOrder:
    """The order of a run of which VALIDATION_EPOCH is the last epoch."""
    return replace(order, epochs=VALIDATION_EPOCH + 1)


def validation_steps(config: PretrainConfig, steps_per_epoch: int) -> int:
    """Global batches of pairs that a validation takes: 512 pairs or a little more, and an epoch's at most."""
    return min(-(-_VALIDATION_PAIRS // config.optimize.global_batch_size), steps_per_epoch)


def probe_batches(config: PretrainConfig, samples: int) -> int | None:
    """Batches that sample the labelled training set; None where all of it is taken."""
    assert config.probe
    share = config.probe.label_share
    return None if share == 1 else max(round(share * samples / BATCH_SIZE), 1)


def is_probed(config: PretrainConfig, epoch: int) -> bool:
    """Whether the features are judged at the end of `epoch`, from 1."""
    return config.probe is not None and (epoch % config.probe.every_epochs == 0 or epoch == config.optimize.epochs)


def judge_embeddings(rows: np.ndarray, world: World, sum_over_ranks: SumOverRanks) -> PretrainingCounts:
    """Counts of how far embeddings, float [n, d] on each rank, are from having collapsed (collective)."""
    every = rows_of_all_ranks(rows, world, sum_over_ranks)
    if not world.is_chief:
        return PretrainingCounts()
    return PretrainingCounts(embedding_std=embedding_std(every), effective_rank=effective_rank(every))


def judge_features(
    config: PretrainConfig, known: Features, asked: Features, epoch: int, world: World, sum_over_ranks: SumOverRanks
) -> PretrainingCounts:
    """Counts of this rank's labelled images `asked` that all ranks' `known` classify rightly (collective).

    By their neighbours, and at the end of the last epoch by a linear classifier.
    """
    assert config.probe
    rows = rows_of_all_ranks(known.rows, world, sum_over_ranks)
    labels = rows_of_all_ranks(known.labels[:, None].astype(np.float64), world, sum_over_ranks)[:, 0].astype(np.int64)
    count = len(asked.labels)
    if not count:
        return PretrainingCounts()
    share = knn_accuracy(rows, labels, asked.rows, asked.labels, config.probe.neighbors)
    counts = PretrainingCounts(asked=count, knn_top1=round(share * count))
    if epoch == config.optimize.epochs:
        share = linear_probe_accuracy(rows, labels, asked.rows, asked.labels)
        counts += PretrainingCounts(probed=count, linear_top1=round(share * count))
    return counts


def rows_of_all_ranks(rows: np.ndarray, world: World, sum_over_ranks: SumOverRanks) -> np.ndarray:
    """The rows [n, d] of all ranks, in their order; n may differ, and be 0 where d is not known (collective)."""
    sizes = np.zeros((world.size, 2))
    sizes[world.rank] = len(rows), rows.shape[1] if len(rows) else 0
    sizes = sum_over_ranks(sizes).astype(np.int64)
    end = sizes[: world.rank + 1, 0].sum()
    every = np.zeros((sizes[:, 0].sum(), sizes[:, 1].max()), rows.dtype)
    if len(rows):
        every[end - len(rows) : end] = rows
    return sum_over_ranks(every)
