"""Pictures of a class that a model hardly tells apart: cuttings of one picture, other exposures, the next moment. Pure.

What is near is another thing for each model: it is told by how far the pictures of the set mostly are from the nearest.
"""

from collections.abc import Sequence

import numpy as np

from scenerec.data.finding_kinds import Kind
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.findings import Finding

_NEAR = 0.25  # of the median distance to the nearest picture
_ROWS_AT_ONCE = 1024


def similar(pictures: Sequence[PictureFacts], embeddings: np.ndarray) -> list[Finding]:
    """Of each two pictures of a class whose embeddings, float [pictures, d], are near: the one that could be left out.

    That is training's, where the other one stands in evaluation; else the latter by path. Each is named once, with the
    picture that is nearest to it.
    """
    names = np.array([picture.class_name for picture in pictures])
    nearest, distances = nearest_of_class(embeddings, np.unique(names, return_inverse=True)[1])
    median = float(np.median(distances[np.isfinite(distances)])) if np.isfinite(distances).any() else 0.0
    found: dict[str, Finding] = {}
    for row in np.flatnonzero(distances < _NEAR * median):
        stays, goes = sorted(
            (pictures[row], pictures[nearest[row]]), key=lambda each: (each.split == "train", each.path)
        )
        share = float(distances[row]) / median
        where = f"{stays.split}, {stays.class_name}" if stays.split else stays.class_name
        detail = f"{share:.0%} of the usual distance from {stays.path} ({where})"
        found.setdefault(
            goes.path, Finding(Kind.SIMILAR, goes.path, goes.split, goes.class_name, detail, stays.path, share)
        )
    return list(found.values())


def nearest_of_class(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which row of the same label is nearest to each, int64 [n], and how far: 1 - cosine about the mean, float32 [n].

    Of embeddings, float [n, d]. A row alone with its label is -1, and infinitely far.
    """
    rows = (embeddings - embeddings.mean(axis=0, dtype=np.float64)).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    nearest, distances = np.full(len(rows), -1), np.full(len(rows), np.inf, np.float32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for begin in range(0, len(members) if len(members) > 1 else 0, _ROWS_AT_ONCE):
            asked = members[begin : begin + _ROWS_AT_ONCE]
            likeness = rows[asked] @ rows[members].T
            likeness[np.arange(len(asked)), np.arange(begin, begin + len(asked))] = -np.inf  # itself
            best = likeness.argmax(axis=1)
            nearest[asked] = members[best]
            distances[asked] = 1 - likeness[np.arange(len(asked)), best]
    return nearest, np.maximum(distances, 0)
