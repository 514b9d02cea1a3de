"""Pictures of a class that a model hardly tells apart: cuttings of one picture, other exposures, the next moment. Pure.

What is near is another thing for each model and each class: a picture is named where its nearest one is far nearer than
its second nearest (Lowe, Distinctive image features from scale-invariant keypoints, IJCV 60, 2004, section 7.1).
"""

from collections.abc import Sequence

import numpy as np

from scenerec.data.finding_kinds import Kind
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.findings import Finding

_NEARER = 0.2  # than the second nearest: the ratio of the distances
_ROWS_AT_ONCE = 1024
_LEAST_DISTANCE = 1e-5  # rounding


def similar(pictures: Sequence[PictureFacts], embeddings: np.ndarray) -> list[Finding]:
    """Of each two pictures of a class whose embeddings, float [pictures, d], are near: the one that could be left out.

    That is training's, where the other one stands in evaluation; else the latter by path.
    """
    names = np.array([picture.class_name for picture in pictures])
    nearest, ratios = nearest_of_class(embeddings, np.unique(names, return_inverse=True)[1])
    found: dict[str, Finding] = {}
    for row in np.flatnonzero(ratios < _NEARER):
        stays, goes = sorted(
            (pictures[row], pictures[nearest[row]]), key=lambda each: (each.split == "train", each.path)
        )
        where = f"{stays.split}, {stays.class_name}" if stays.split else stays.class_name
        detail = f"{ratios[row]:.0%} as far from {stays.path} ({where}) as from any other"
        finding = Finding(Kind.SIMILAR, goes.path, goes.split, goes.class_name, detail, stays.path, float(ratios[row]))
        found.setdefault(goes.path, finding)
    return list(found.values())


def nearest_of_class(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which row of the same label is nearest to each, int64 [n], and the ratio of its distance to the second's, [n].

    Of embeddings, float [n, d]; distances are 1 - cosine about the mean. Of a row with fewer than two others of its
    label the ratio is 1.
    """
    rows = (embeddings - embeddings.mean(axis=0, dtype=np.float64)).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    nearest, ratios = np.full(len(rows), -1), np.ones(len(rows), np.float32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for begin in range(0, len(members) if len(members) > 2 else 0, _ROWS_AT_ONCE):
            asked = members[begin : begin + _ROWS_AT_ONCE]
            distances = 1 - rows[asked] @ rows[members].T
            distances[np.arange(len(asked)), np.arange(begin, begin + len(asked))] = np.inf  # itself
            two = np.argpartition(distances, 1, axis=1)[:, :2]
            first, second = np.take_along_axis(distances, two, axis=1).T
            nearest[asked] = members[two[:, 0]]
            ratios[asked] = np.maximum(first, 0) / np.maximum(second, _LEAST_DISTANCE)
    return nearest, ratios
