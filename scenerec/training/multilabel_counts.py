"""What the validation of a multi-label task counts: all answers, since average precision goes by their ranking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from typing_extensions import override

from scenerec.inference.evaluation import multilabel_metrics as formulas
from scenerec.inference.evaluation.label_figures import LabelFigures, label_figures
from scenerec.inference.predictors.predictor import DEFAULT_THRESHOLD
from scenerec.training.counts import Counts
from scenerec.training.metric import VAL_LOSS, Metric
from scenerec.world import World

MAP = Metric("val_map", "mAP", "share", is_maximised=True)
F1_MICRO = Metric("val_f1_micro", "F1 micro", "share", is_maximised=True)
F1_MACRO = Metric("val_f1_macro", "F1 macro", "share", is_maximised=True)


@dataclass(frozen=True)
class MultilabelCounts(Counts):
    """The answers to the samples of a multi-label set. They take 16 bytes for each sample and class meanwhile."""

    logits: tuple[np.ndarray, ...] = ()
    """Logits of each batch, float [n, classes]."""
    labels: tuple[np.ndarray, ...] = ()
    """Labels of each batch, 1 where an image has one, float [n, classes]."""

    @override
    def __add__(self, other: Self) -> Self:
        return type(self)(self.samples + other.samples, self.logits + other.logits, self.labels + other.labels)

    @override
    @classmethod
    def of_batch(cls, samples: int, counted: Sequence[np.ndarray]) -> Self:
        logits, labels = counted
        return cls(samples, (logits,), (labels,))

    @override
    def over_ranks(self, world: World, sum_over_ranks: Callable[[np.ndarray], np.ndarray]) -> Self:
        """All ranks' answers, in the order of the ranks: each puts its own into its place of an array of zeros."""
        if world.size == 1:
            return self
        mine = np.zeros((2, world.size))
        mine[:, world.rank] = self.samples, self.logits[0].shape[1] if self.logits else 0
        samples, classes = sum_over_ranks(mine.ravel()).reshape(2, -1).astype(int)
        first = int(samples[: world.rank].sum())

        def gathered(parts: tuple[np.ndarray, ...]) -> np.ndarray:
            places = np.zeros((samples.sum(), classes.max()))  # float64 holds each float32 as it is
            if parts:
                places[first : first + int(self.samples)] = np.concatenate(parts)
            return sum_over_ranks(places.ravel()).reshape(places.shape)

        return type(self)(float(samples.sum()), (gathered(self.logits),), (gathered(self.labels),))

    @override
    def label_figures(self, classes: Sequence[str]) -> tuple[LabelFigures, ...]:
        """At a threshold of 0.5; those of an exported model are chosen when it is exported."""
        logits, labels = (np.concatenate(parts).astype(np.float64) for parts in (self.logits, self.labels))
        return label_figures(logits, labels > 0, [DEFAULT_THRESHOLD] * len(classes), classes)

    @override
    def metrics(self) -> dict[str, float]:
        """Mean binary cross-entropy, mean average precision, and F1 of what is given from a probability of 0.5 on."""
        logits, labels = np.concatenate(self.logits), np.concatenate(self.labels) > 0
        given = logits >= 0
        return {
            VAL_LOSS.key: formulas.mean_loss(logits, labels),
            MAP.key: formulas.mean_average_precision(logits, labels),
            F1_MICRO.key: formulas.micro_f1(given, labels),
            F1_MACRO.key: float(formulas.precision_recall_f1(given, labels)[2].mean()),
        }
