"""The report of a multi-label evaluation: one HTML file that loads nothing else."""

from dataclasses import dataclass

import numpy as np

from scenerec import __version__
from scenerec.inference.evaluation.label_figures import hardest_first
from scenerec.inference.evaluation.multilabel_evaluation import MultilabelOutcome
from scenerec.inference.evaluation.multilabel_predictions import MultilabelPredictions
from scenerec.inference.evaluation.report_parts import report_environment, thumbnails

_TEMPLATE = "multilabel_report.html.j2"
_PICTURES = 12


@dataclass(frozen=True)
class Decision:
    """A decision about a label of a sample, which the report shows."""

    index: int
    """Index of the sample in the set."""
    label: str
    """The label."""
    probability: float
    """Its probability."""
    others: str
    """The sample's labels in words."""


def render_labels(outcome: MultilabelOutcome) -> str:
    """Renders the report as HTML, for which it reads the shards that hold its pictures.

    Raises DataError or StorageError where these cannot be read.
    """
    predictions, classes = outcome.predictions[0], outcome.data.manifest.classes
    wrong, missed = wrong_labels(predictions)[:_PICTURES], missed_labels(predictions)[:_PICTURES]
    shown = {index for index, _ in (*wrong, *missed)}
    return (
        report_environment()
        .get_template(_TEMPLATE)
        .render(
            outcome=outcome,
            request=outcome.request,
            evaluation=outcome.evaluations[0],
            evaluations=outcome.evaluations,
            labels=hardest_first(outcome.evaluations[0].classes),
            manifest=outcome.data.manifest,
            data_url=outcome.data.url,
            wrong=[_decision(*place, predictions, classes) for place in wrong],
            missed=[_decision(*place, predictions, classes) for place in missed],
            thumbnails=thumbnails(outcome.data, shown),
            version=__version__,
        )
    )


def wrong_labels(predictions: MultilabelPredictions) -> list[tuple[int, int]]:
    """(place, class) of the labels that are given and not there, the most probable first."""
    return _places(predictions.given & ~predictions.labels, -predictions.logits)


def missed_labels(predictions: MultilabelPredictions) -> list[tuple[int, int]]:
    """(place, class) of the labels that are there and not given, the least probable first."""
    return _places(predictions.labels & ~predictions.given, predictions.logits)


def _places(chosen: np.ndarray, order: np.ndarray) -> list[tuple[int, int]]:
    places, classes = np.nonzero(chosen)
    ranked = np.argsort(order[places, classes], kind="stable")
    return list(zip(places[ranked].tolist(), classes[ranked].tolist(), strict=True))


def _decision(index: int, label: int, predictions: MultilabelPredictions, classes: tuple[str, ...]) -> Decision:
    there = np.flatnonzero(predictions.labels[index]).tolist()
    words = ", ".join(classes[each] for each in there) or "no label"
    return Decision(index, classes[label], float(predictions.probabilities[index, label]), words)
