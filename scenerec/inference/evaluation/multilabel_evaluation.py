"""How good a multi-label model is on a set: its figures, label by label."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scenerec.data.packed_set import PackedSet
from scenerec.inference.evaluation import multilabel_metrics as formulas
from scenerec.inference.evaluation.label_figures import LabelFigures, label_figures
from scenerec.inference.evaluation.multilabel_predictions import MultilabelPredictions
from scenerec.inference.evaluation.request import EvaluationRequest, origin


@dataclass(frozen=True)
class MultilabelEvaluation:
    """Figures of a multi-label model's answers."""

    predictor: str
    """Name of the model."""
    samples: int
    """How many samples were evaluated."""
    map: float | None
    """Mean average precision over the labels that some sample has; None where none has any."""
    f1_micro: float
    """F1 over all decisions, at the model's thresholds."""
    f1_macro: float
    """Mean of the labels' F1, at the model's thresholds."""
    best_f1_macro: float
    """Mean of the labels' F1 at the thresholds that are best on these samples."""
    loss: float
    """Mean binary cross-entropy, in nats."""
    labels_per_sample: float
    """Labels that a sample has on average."""
    given_per_sample: float
    """Labels that the model gives on average."""
    images_per_s: float
    """Images per second with reading and decoding, over all workers."""
    model_images_per_s: float | None
    """Images per second of the model alone, after its first batch, on one worker; None where one batch was all."""
    classes: tuple[LabelFigures, ...]
    """Figures of each label, in order of class index."""


@dataclass(frozen=True)
class MultilabelOutcome:
    """A finished evaluation of a multi-label model, alone or beside another."""

    request: EvaluationRequest
    """What was asked for."""
    data: PackedSet
    """Packed set that was evaluated on."""
    predictions: list[MultilabelPredictions]
    """Answers of the model, and of the one that it is compared with."""
    evaluations: list[MultilabelEvaluation]
    """Figures of the model, and of the one that it is compared with."""
    finished_at: str
    """When the evaluation was done: UTC, ISO 8601, to the second."""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON values: the content of evaluation.json."""
        others = self.evaluations[1:]
        return {
            "task": "multilabel",
            "evaluation": asdict(self.evaluations[0]),
            "other": asdict(others[0]) if others else None,
            **origin(self.request, self.data, self.finished_at),
        }


def assess_labels(predictions: MultilabelPredictions, classes: tuple[str, ...]) -> MultilabelEvaluation:
    """Computes all figures of `predictions` over `classes`."""
    labels, logits, clock = predictions.labels, predictions.logits, predictions.clock
    given = predictions.given
    of_labels = label_figures(logits, labels, predictions.thresholds, classes)
    mean = formulas.mean_average_precision(logits, labels)
    return MultilabelEvaluation(
        predictor=predictions.predictor,
        samples=len(labels),
        map=None if np.isnan(mean) else mean,
        f1_micro=formulas.micro_f1(given, labels),
        f1_macro=float(np.mean([each.f1 for each in of_labels])),
        best_f1_macro=float(np.mean([each.best_f1 for each in of_labels])),
        loss=formulas.mean_loss(logits, labels),
        labels_per_sample=float(labels.sum(1).mean()),
        given_per_sample=float(given.sum(1).mean()),
        images_per_s=len(labels) / max(clock.ended_s - clock.began_s, 1e-9),
        model_images_per_s=clock.model_images / clock.model_s if clock.model_images else None,
        classes=of_labels,
    )
