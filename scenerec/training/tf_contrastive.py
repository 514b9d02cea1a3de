"""Contrastive losses in TensorFlow, with negatives from all ranks, and what a momentum encoder needs.

Mirrors torch_contrastive. Embeddings are [n, d] of one rank, of any length. Each loss gives those of the rank's n
samples, [n]: their sum over all ranks, divided by the global batch, is the paper's mean. Its gradients run through the
embeddings of other ranks, too, so that they are the same for any number of ranks.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Gathered(NamedTuple):
    """The rows of all ranks."""

    rows: tf.Tensor
    """[N, d], in order of the ranks."""
    start: tf.Tensor | int
    """Where this rank's begin."""


Gather = Callable[[tf.Tensor], Gathered]


def gather(rows: tf.Tensor) -> Gathered:
    """The rows [n, d] of all ranks, in which n may differ. Gradients come back from all ranks, and add up.

    Alone, a rank has its own. Called in the strategy's replica context.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return Gathered(rows, 0)
    rank, here = context.replica_id_in_sync_group, tf.shape(rows)[0]
    counts = tf.one_hot(rank, context.num_replicas_in_sync) * tf.cast(here, tf.float32)  # sums on a GPU are of floats
    counts = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, counts), tf.int32)
    before = tf.reduce_sum(counts[:rank])
    behind = tf.reduce_sum(counts) - before - here
    padded = tf.pad(rows, [[before, behind], [0, 0]])
    return Gathered(context.all_reduce(tf.distribute.ReduceOp.SUM, padded), before)


def normalize_rows(embeddings: tf.Tensor) -> tf.Tensor:
    """Embeddings [n, d], each of length 1 (L2)."""
    return tf.math.l2_normalize(embeddings, axis=1, epsilon=1e-24)


def nt_xent(first: tf.Tensor, second: tf.Tensor, temperature: float, gather: Gather) -> tf.Tensor:
    """SimCLR's losses [n] (Chen et al. 2020, equation 1), each the mean of both directions.

    Of two views' embeddings [n, d] of the same images. Negatives are all other views of the global batch, of both
    kinds, and have gradients.
    """
    first, second = normalize_rows(first), normalize_rows(second)
    rows, start = gather(tf.concat([first, second], axis=1))
    firsts, seconds = tf.split(rows, 2, axis=1)
    places = start + tf.range(tf.shape(first)[0])

    def one_way(anchors: tf.Tensor, partners: tf.Tensor, kin: tf.Tensor) -> tf.Tensor:
        itself = tf.one_hot(places, tf.shape(kin)[0], on_value=True, off_value=False, dtype=tf.bool)
        among_kin = tf.where(itself, tf.constant(-np.inf, anchors.dtype), tf.matmul(anchors, kin, transpose_b=True))
        logits = tf.concat([tf.matmul(anchors, partners, transpose_b=True), among_kin], axis=1)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(places, logits / temperature)

    return (one_way(first, seconds, firsts) + one_way(second, firsts, seconds)) / 2


def info_nce(query: tf.Tensor, key: tf.Tensor, queue: tf.Tensor, temperature: float) -> tf.Tensor:
    """MoCo's losses [n] (He et al. 2020, equation 1): a query [n, d] finds its key [n, d] beside a queue's [k, d].

    Keys and queue have no gradients.
    """
    query = normalize_rows(query)
    key, queue = (normalize_rows(tf.stop_gradient(rows)) for rows in (key, queue))
    positive = tf.reduce_sum(query * key, axis=1, keepdims=True)
    logits = tf.concat([positive, tf.matmul(query, queue, transpose_b=True)], axis=1) / temperature
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.zeros(tf.shape(logits)[:1], tf.int32), logits)


def symmetric_info_nce(
    q1: tf.Tensor, q2: tf.Tensor, k1: tf.Tensor, k2: tf.Tensor, temperature: float, gather: Gather
) -> tf.Tensor:
    """MoCo v3's losses [n] (Chen, Xie, He 2021, algorithm 1): each view's query finds the other view's key.

    All [n, d]. Negatives are the keys of the global batch, without gradients. Scaled by 2 x temperature, as there.
    """
    keys, start = gather(tf.concat([normalize_rows(tf.stop_gradient(rows)) for rows in (k1, k2)], axis=1))
    keys1, keys2 = tf.split(keys, 2, axis=1)
    places = start + tf.range(tf.shape(q1)[0])

    def contrast(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        logits = tf.matmul(normalize_rows(queries), keys, transpose_b=True) / temperature
        return 2 * temperature * tf.nn.sparse_softmax_cross_entropy_with_logits(places, logits)

    return contrast(q1, keys2) + contrast(q2, keys1)


def update_queue(queue: tf.Tensor, position: tf.Tensor | int, keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A queue [k, d] whose oldest n rows, from `position` on, are replaced by keys [n, d]; and where it goes on.

    n is at most k. Neither tensor is changed. Positions are int32.
    """
    position, size, count = tf.cast(position, tf.int32), tf.shape(queue)[0], tf.shape(keys)[0]
    places = (position + tf.range(count)) % size
    updated = tf.tensor_scatter_nd_update(queue, places[:, None], tf.cast(tf.stop_gradient(keys), queue.dtype))
    return updated, (position + count) % size


def update_momentum_encoder(
    keys: Sequence[tf.Variable], queries: Sequence[tf.Variable], momentum: tf.Tensor | float
) -> None:
    """Moves a momentum encoder's weights, in place, towards the trained ones (He et al. 2020, equation 2).

    A momentum that is a tensor is float64: close to 1 float32 loses most of what it gives up.
    """
    given_up = tf.convert_to_tensor(1 - momentum, tf.float64)
    for key, query in zip(keys, queries, strict=True):
        key.assign_add(tf.cast(given_up, key.dtype) * (query - key))
