"""What an evaluation leaves: its figures, its predictions, and a report: one HTML file that loads nothing else."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scenerec import __version__
from scenerec.inference.evaluation.evaluator import Answers, AnyOutcome, Outcome
from scenerec.inference.evaluation.metrics import ClassAccuracy, Confusion, ReliabilityBin
from scenerec.inference.evaluation.multilabel_evaluation import MultilabelOutcome
from scenerec.inference.evaluation.multilabel_report import render_labels
from scenerec.inference.evaluation.predictions import Predictions
from scenerec.inference.evaluation.report_parts import report_environment, thumbnails
from scenerec.inference.evaluation.significance import Interval, wilson_interval
from scenerec.storage import open_storage

EVALUATION_FILE = "evaluation.json"
"""Name of the file with the figures."""
REPORT_FILE = "report.html"
"""Name of the report."""
PREDICTIONS_FILE = "predictions.safetensors"
"""Name of the file with the model's predictions."""
OTHER_PREDICTIONS_FILE = "predictions-b.safetensors"
"""Name of the file with the predictions of the model that it is compared with."""
MULTILABEL_PREDICTIONS_FILE = "multilabel-predictions.safetensors"
"""As the first, of a multi-label model."""
OTHER_MULTILABEL_PREDICTIONS_FILE = "multilabel-predictions-b.safetensors"
"""As the second, of a multi-label model."""

_TEMPLATE = "report.html.j2"

_CONFUSIONS = 6
_CONFUSED_IMAGES = 5
_CONFIDENT_ERRORS = 12
_DISAGREEMENTS = 6
_ALL_CLASSES = 40  # so many are listed in full
_WORST_CLASSES, _BEST_CLASSES = 20, 10


@dataclass(frozen=True)
class Picture:
    """A sample that the report shows, and what the model says of it."""

    index: int
    """Index of the sample in the set."""
    label: str
    """Class of the sample."""
    predicted: str
    """Class that ranks first."""
    confidence: float
    """Probability of the class that ranks first."""
    label_probability: float
    """Probability of the sample's class."""


@dataclass(frozen=True)
class ConfusionStory:
    """A pair of classes that are confused, with pictures."""

    pair: Confusion
    """The classes, and how often they are confused."""
    wrong: list[Picture]
    """Samples that are taken for the other class, the most confident first."""
    of_label: Picture | None
    """Picture of the class: the most confident right answer."""
    of_predicted: Picture | None
    """Picture of the class that it is taken for."""


def write_outcome(outcome: AnyOutcome, url: str) -> None:
    """Writes evaluation.json, report.html and the predictions to a folder or s3:// prefix.

    Raises StorageError where they cannot be written, DataError where the report's pictures cannot be read.
    """
    storage = open_storage(url)
    files = (PREDICTIONS_FILE, OTHER_PREDICTIONS_FILE)
    if isinstance(outcome, MultilabelOutcome):
        files = (MULTILABEL_PREDICTIONS_FILE, OTHER_MULTILABEL_PREDICTIONS_FILE)
    answered: Sequence[Answers] = outcome.predictions
    for file, answers in zip(files, answered, strict=False):
        metadata = {
            "predictor": answers.predictor,
            "data": outcome.data.url,
            "fingerprint": outcome.data.manifest.fingerprint,
            "classes": json.dumps(outcome.data.manifest.classes),
            "crops": str(outcome.request.crops),
        }
        storage.put(file, answers.to_bytes(metadata))
    storage.put(REPORT_FILE, render(outcome).encode())
    storage.put(EVALUATION_FILE, json.dumps(outcome.as_dict(), indent=1).encode())


def render(outcome: AnyOutcome) -> str:
    """Renders the report as HTML, for which it reads the shards that hold its pictures.

    Raises DataError or StorageError where these cannot be read.
    """
    return render_labels(outcome) if isinstance(outcome, MultilabelOutcome) else _render(outcome)


def _render(outcome: Outcome) -> str:
    evaluation, predictions = outcome.evaluations[0], outcome.predictions[0]
    classes = outcome.data.manifest.classes
    stories = [_story(pair, predictions, classes) for pair in evaluation.confusions[:_CONFUSIONS]]
    errors = [_picture(index, predictions, classes) for index in confident_errors(predictions)[:_CONFIDENT_ERRORS]]
    disagreements = _disagreements(outcome)
    shown = [picture for story in stories for picture in (*story.wrong, story.of_label, story.of_predicted) if picture]
    shown += [*errors, *(pair[0] for pairs in disagreements for pair in pairs)]
    worst, best = extreme_classes(evaluation.classes)
    return (
        report_environment()
        .get_template(_TEMPLATE)
        .render(
            outcome=outcome,
            request=outcome.request,
            names=[_name(outcome, index) for index in range(len(outcome.evaluations))],
            evaluation=evaluation,
            evaluations=outcome.evaluations,
            comparison=outcome.comparison,
            manifest=outcome.data.manifest,
            data_url=outcome.data.url,
            worst=worst,
            best=best,
            bins=[(each, _bin_interval(each)) for each in evaluation.reliability],
            largest_bin=max(each.samples for each in evaluation.reliability),
            stories=stories,
            errors=errors,
            only_a=disagreements[0],
            only_b=disagreements[1],
            thumbnails=thumbnails(outcome.data, {picture.index for picture in shown}),
            version=__version__,
        )
    )


def confident_errors(predictions: Predictions) -> list[int]:
    """Lists the places of the wrong answers, the most confident first."""
    return _most_confident(predictions, ~predictions.correct)


def _most_confident(predictions: Predictions, chosen: np.ndarray) -> list[int]:
    """The places where `chosen`, bool [n], holds: those first of whose answer the model is surest."""
    places = np.flatnonzero(chosen)
    return places[np.argsort(-predictions.log_probabilities[places, 0], kind="stable")].tolist()


def extreme_classes(classes: Iterable[ClassAccuracy]) -> tuple[list[ClassAccuracy], list[ClassAccuracy]]:
    """Returns the worst classes and the best ones, both from bad to good; where there are few, all are the worst."""
    ranked = sorted(
        (each for each in classes if each.samples), key=lambda each: (each.correct / each.samples, -each.samples)
    )
    if len(ranked) <= _ALL_CLASSES:
        return ranked, []
    return ranked[:_WORST_CLASSES], ranked[-_BEST_CLASSES:]


def _picture(index: int, predictions: Predictions, classes: tuple[str, ...]) -> Picture:
    return Picture(
        index,
        classes[predictions.labels[index]],
        classes[predictions.predicted[index]],
        float(np.exp(predictions.log_probabilities[index, 0])),
        float(np.exp(predictions.label_log_probabilities[index])),
    )


def _story(pair: Confusion, predictions: Predictions, classes: tuple[str, ...]) -> ConfusionStory:
    label, taken_for = classes.index(pair.label), classes.index(pair.predicted)

    def pictures(of: int, predicted: int, count: int) -> list[Picture]:
        places = _most_confident(predictions, (predictions.labels == of) & (predictions.predicted == predicted))
        return [_picture(index, predictions, classes) for index in places[:count]]

    return ConfusionStory(
        pair,
        pictures(label, taken_for, _CONFUSED_IMAGES),
        *(next(iter(pictures(of, of, 1)), None) for of in (label, taken_for)),
    )


def _disagreements(outcome: Outcome) -> tuple[list[tuple[Picture, Picture]], list[tuple[Picture, Picture]]]:
    """(images that only A gets right, those that only B does), each as (A's answer, B's answer)."""
    if outcome.comparison is None:
        return [], []
    classes = outcome.data.manifest.classes
    a, b = outcome.predictions

    def pairs(right: Predictions, wrong: Predictions) -> list[tuple[Picture, Picture]]:
        places = _most_confident(wrong, right.correct & ~wrong.correct)[:_DISAGREEMENTS]
        return [(_picture(i, a, classes), _picture(i, b, classes)) for i in places]

    return pairs(a, b), pairs(b, a)


def _bin_interval(each: ReliabilityBin) -> Interval | None:
    return wilson_interval(round(each.accuracy * each.samples), each.samples) if each.samples else None


def _name(outcome: Outcome, index: int) -> str:
    framework = outcome.request.subjects[index].framework
    return outcome.evaluations[index].predictor + (f" in {framework}" if framework else "")
