"""What features are worth, and whether they have collapsed: pure measures of embeddings [n, d]."""

from collections.abc import Iterator

import numpy as np

from scenerec.training.linear_head import fit_linear_heads, top_share

_CHUNK = 1024  # test images at a time: their similarities to a million training images are 4 GB


def embedding_std(embeddings: np.ndarray) -> float:
    """The deviation of the embeddings [n, d], each of length 1, averaged over the axes.

    1 / sqrt(d) where they fill the sphere, 0 where all are the same (Chen and He 2021, section 4.1).
    """
    return float(_normalized(embeddings).std(axis=0).mean())


def effective_rank(embeddings: np.ndarray) -> float:
    """How many directions the embeddings [n, d] use: 1 to min(n, d) (Roy and Vetterli 2007, definition 1).

    exp of the entropy of the singular values, over their sum. 0 where all embeddings are 0, NaN where one is no number.
    """
    if not np.isfinite(embeddings).all():  # a run that has diverged says so itself, which NumPy's SVD would not
        return float("nan")
    values = np.linalg.svd(np.asarray(embeddings, np.float64), compute_uv=False)
    shares = values[values > 0] / max(values.sum(), np.finfo(np.float64).tiny)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def knn_accuracy(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    neighbors: int = 200,
    temperature: float = 0.07,
    is_one_set: bool = False,
) -> float:
    """Share of `test` [m, d] for whose class the nearest of `train` [n, d] vote; labels are int [m] and [n].

    Each of the `neighbors` (of all, where there are fewer) votes with exp(cosine similarity / temperature), as in Wu,
    Xiong, Yu, Lin 2018, section 3.4. Of classes with as many votes the first counts.
    Where `is_one_set`, both are the same images, of which none is its own neighbour.
    """
    known, asked = (_normalized(features).astype(np.float32) for features in (train, test))
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    right = 0
    for rows in _chunks(len(asked)):
        similarity = asked[rows] @ known.T
        if is_one_set:
            similarity[np.arange(len(similarity)), np.arange(rows.start, rows.stop)] = -np.inf
        nearest = _largest(similarity, neighbors)
        near = np.take_along_axis(similarity, nearest, axis=1)
        # The nearest counts 1, whatever the temperature: else a low one leaves nobody a vote, and the first class wins.
        weights = np.exp((near - np.maximum(near.max(axis=1, keepdims=True), -1)) / temperature)
        boxes = np.arange(len(nearest))[:, None] * classes + train_labels[nearest]
        votes = np.bincount(boxes.ravel(), weights.ravel(), len(nearest) * classes).reshape(-1, classes)
        right += int((votes.argmax(axis=1) == test_labels[rows]).sum())
    return right / len(asked)


def linear_probe_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, decay: float = 1e-3
) -> float:
    """Share of `test` [m, d] that a linear classifier on the features `train` [n, d] gets right.

    Multinomial logistic regression on features that are standardised by `train`, with `decay` / 2 times the squared
    weights beside the mean cross-entropy: convex, so that the result depends on nothing else. Labels are class
    indices, int [n] and [m]. 0 where a feature of `train` is no number.
    """
    if not np.isfinite(train).all():  # as of a run that has diverged: there is nothing to fit
        return 0.0
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    (head,) = fit_linear_heads(train, train_labels, classes, (decay,))
    return top_share(head.logits(test), test_labels, 1)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` largest of each row are, in any order; all where there are fewer."""
    if count >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, -count, axis=1)[:, -count:]


def _normalized(embeddings: np.ndarray) -> np.ndarray:
    rows = np.asarray(embeddings, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, min(start + _CHUNK, count))
