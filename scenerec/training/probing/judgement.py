"""What a backbone's features are worth: the heads that are fitted upon them, judged on other images. Pure."""

from dataclasses import dataclass

import numpy as np

from scenerec.config.probe import ProbeConfig
from scenerec.frozen import Frozen
from scenerec.inference.evaluation.significance import compare
from scenerec.training.embeddings import knn_accuracy
from scenerec.training.linear_head import (
    LinearHead,
    choose_decay,
    cross_entropy,
    fit_linear_heads,
    top_share,
)
from scenerec.training.probing.backbone import Backbone
from scenerec.training.probing.features import StoredFeatures


class Judgement(Frozen):
    """A row of a probe's table: JSON values of result.json."""

    name: str
    """Backbone: architecture and weights."""
    arch: str
    """Architecture."""
    weights: str
    """Weights, as the config names them."""
    image_size: int
    """Side of its images in pixels."""
    features: int
    """Numbers that it makes of an image."""
    linear_top1: float
    """Share of the validation images that the linear head gets right."""
    linear_top5: float
    """Share of those whose class is among its first five."""
    linear_loss: float
    """Its mean cross-entropy on them."""
    train_loss: float
    """Its mean cross-entropy on the training images."""
    knn_top1: float | None
    """Share of the validation images that the nearest training images get right; None where they were not asked."""
    decay: float
    """Weight decay of the linear head."""
    held_back_losses: dict[str, float]
    """Cross-entropy on the images that were held back, by weight decay; empty where there were none, or no choice."""
    feature_seconds: float
    """What the features took, summed over the workers, whenever that was."""
    parameters: int
    """Weights of the backbone."""
    gflops: float
    """1e9 multiply-adds for an image."""


@dataclass(frozen=True)
class Judged:
    """A backbone with the head that was fitted upon it."""

    number: int
    """Index of the backbone."""
    judgement: Judgement
    """What it came to."""
    head: LinearHead
    """The linear head, of values that float32 has."""
    predicted: np.ndarray
    """The class that ranks first for each validation image, int64 [m]."""
    labels: np.ndarray
    """Their classes, int64 [m]."""

    def against(self, other: "Judged") -> str:
        """Whether it is better than another by more than chance, over the same images, in words."""
        found = compare(self.labels, self.predicted, other.predicted)
        return found.words(self.judgement.name, other.judgement.name)


def judge(
    config: ProbeConfig, number: int, backbone: Backbone, train: StoredFeatures, val: StoredFeatures, classes: int
) -> Judged:
    """Fits the heads upon the features of `train`, and judges them on those of `val`."""
    linear, decay, losses = config.linear, config.linear.decays[0], dict[float, float]()
    if len(linear.decays) > 1:
        decay, losses = choose_decay(train.rows, train.labels, classes, linear.decays, linear.held_back, config.seed)
    (fitted,) = fit_linear_heads(train.rows, train.labels, classes, (decay,))
    head = LinearHead(*(array.astype(np.float32).astype(np.float64) for array in (fitted.weight, fitted.bias)))
    logits, knn = head.logits(val.rows), config.knn
    judgement = Judgement(
        name=backbone.config.name,
        arch=backbone.config.arch,
        weights=backbone.config.weights,
        image_size=backbone.preprocessing.image_size,
        features=backbone.features,
        linear_top1=top_share(logits, val.labels, 1),
        linear_top5=top_share(logits, val.labels, 5),
        linear_loss=cross_entropy(logits, val.labels),
        train_loss=cross_entropy(head.logits(train.rows), train.labels),
        knn_top1=knn_accuracy(train.rows, train.labels, val.rows, val.labels, knn.neighbors, knn.temperature)
        if knn
        else None,
        decay=decay,
        held_back_losses={f"{each:g}": loss for each, loss in losses.items()},
        feature_seconds=train.seconds + val.seconds,
        parameters=backbone.parameters,
        gflops=backbone.gflops,
    )
    return Judged(number, judgement, head, logits.argmax(axis=1), val.labels)


def ranked(judged: list[Judged]) -> list[Judged]:
    """The best first: by what the linear head gets right, of equals by its loss."""
    return sorted(judged, key=lambda each: (-each.judgement.linear_top1, each.judgement.linear_loss))
