"""How much the loss of an image counts by its class, or a label that is there: from `optimize.class_weights`. Pure."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from scenerec.config.train import TrainConfig
from scenerec.data.manifest import Manifest
from scenerec.data.packed_set import PackedSet
from scenerec.data.sampling import epoch_class_counts
from scenerec.errors import PlanError
from scenerec.names import clean, did_you_mean, few


def loss_weights(config: TrainConfig, train: Sequence[tuple[PackedSet, float]]) -> dict[str, float]:
    """What the loss of an image of each class is multiplied by, in order of class index; empty where that is 1.

    Of several labels an image: what the loss of each label is multiplied by where it is there (`_label_weights`).

    `train` are the training sets with their weights. `balanced` is n / (k n_c), n_c of an epoch's n images being of
    class c, one of k (as in scikit-learn, after King and Zeng 2001): with data.balance 1 that is 1.
    Weights that the config names are divided by their mean over the epoch's images, so that the learning rate keeps its
    meaning.

    Raises PlanError where a class is named that there is not; the message suggests the nearest.
    """
    setting = config.optimize.class_weights
    if setting == "none":
        return {}
    manifests, shares = [data.manifest for data, _ in train], [share for _, share in train]
    classes = manifests[0].classes
    if config.task == "multilabel":
        return dict(zip(classes, _label_weights(setting, manifests[0]).tolist(), strict=True))
    counts = np.maximum(epoch_class_counts(manifests, shares, config.data.balance), 1)
    weights = 1 / counts if setting == "balanced" else _named(setting, classes)
    return dict(zip(classes, (weights / np.average(weights, weights=counts)).tolist(), strict=True))


def _label_weights(setting: Literal["balanced"] | dict[str, float], train: Manifest) -> np.ndarray:
    """By label, float64 [classes]: those that are named, as they are; or (n - n_c) / n_c, n_c of n images having it.

    With that the images that have a label count as much, together, as those that have not: the `pos_weight` that torch
    proposes for its BCEWithLogitsLoss. 1 for a label that all images have or none has, of which nothing can be learned.
    """
    if setting != "balanced":
        return _named(setting, train.classes)
    there = train.class_counts
    absent = train.samples - there
    return np.where((there > 0) & (absent > 0), absent / np.maximum(there, 1), 1.0)


def _named(setting: dict[str, float], classes: Sequence[str]) -> np.ndarray:
    """The weights by class, float64 [classes]; 1 where none is given."""
    weights, known = np.ones(len(classes)), {clean(name): index for index, name in enumerate(classes)}
    for name, weight in setting.items():
        if clean(name) not in known:
            hint = did_you_mean(clean(name), known, "'") or f"its classes are {few(classes)}"
            raise PlanError(f"optimize.class_weights: the training set has no class {name!r}: {hint}")
        weights[known[clean(name)]] = weight
    return weights
