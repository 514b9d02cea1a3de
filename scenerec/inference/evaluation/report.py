"""What an evaluation leaves: its figures, its predictions, and a report: one HTML file that loads nothing else."""

import base64
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from PIL import Image, ImageOps

from scenerec import __version__
from scenerec.data.packed_image import decode
from scenerec.data.packed_set import PackedSet
from scenerec.html import html_environment
from scenerec.inference.evaluation.evaluator import Outcome
from scenerec.inference.evaluation.metrics import ClassAccuracy, Confusion, ReliabilityBin
from scenerec.inference.evaluation.predictions import Predictions
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

_TEMPLATE = "report.html.j2"

_THUMBNAIL_PX = 232  # twice what is shown, for dense screens
_JPEG_QUALITY = 80
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


def write_outcome(outcome: Outcome, url: str) -> None:
    """Writes evaluation.json, report.html and the predictions to a folder or s3:// prefix.

    Raises StorageError where they cannot be written, DataError where the report's pictures cannot be read.
    """
    storage = open_storage(url)
    for file, answers in zip((PREDICTIONS_FILE, OTHER_PREDICTIONS_FILE), outcome.predictions, strict=False):
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


def render(outcome: Outcome) -> str:
    """Renders the report as HTML, for which it reads the shards that hold its pictures.

    Raises DataError or StorageError where these cannot be read.
    """
    evaluation, predictions = outcome.evaluations[0], outcome.predictions[0]
    classes = outcome.data.manifest.classes
    stories = [_story(pair, predictions, classes) for pair in evaluation.confusions[:_CONFUSIONS]]
    errors = [_picture(index, predictions, classes) for index in confident_errors(predictions)[:_CONFIDENT_ERRORS]]
    disagreements = _disagreements(outcome)
    shown = [picture for story in stories for picture in (*story.wrong, story.of_label, story.of_predicted) if picture]
    shown += [*errors, *(pair[0] for pairs in disagreements for pair in pairs)]
    environment = html_environment("inference/evaluation")
    environment.filters |= {"percent": _percent, "points": _points, "rate": _rate, "breakable": _breakable}
    worst, best = extreme_classes(evaluation.classes)
    return environment.get_template(_TEMPLATE).render(
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


def thumbnails(data: PackedSet, indices: Iterable[int]) -> dict[int, str]:
    """Draws the central squares of samples, and returns JPEGs in base64 by index.

    Raises DataError or StorageError where the samples cannot be read.
    """
    ends = np.cumsum(data.manifest.shard_samples)
    of_shard: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        of_shard[int(np.searchsorted(ends, index, side="right"))].append(index)
    drawn = {}
    for shard, wanted in of_shard.items():
        samples = data.read(shard)
        for index in wanted:
            drawn[index] = _thumbnail(samples[index - int(ends[shard])].image)  # counted from the shard's end
    return drawn


def _thumbnail(encoded: bytes) -> str:
    square = ImageOps.fit(Image.fromarray(decode(encoded)), (_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = io.BytesIO()
    square.save(file, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


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


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"


def _breakable(name: str) -> Markup:
    """A class name that may go on in the next line where its words end."""
    return Markup(re.sub("([_/-])", r"\1<wbr>", str(escape(name))))


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"
