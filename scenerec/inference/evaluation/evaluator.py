"""The story of an evaluation: predictions of one model or two over a set, their figures, their comparison."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import DataError, ScenerecError
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.evaluation.metrics import Evaluation, assess
from scenerec.inference.evaluation.multilabel_evaluation import MultilabelOutcome, assess_labels
from scenerec.inference.evaluation.multilabel_predictions import MultilabelPredictions, merge_labels, predict_labels
from scenerec.inference.evaluation.predictions import KEPT_LOGITS_BYTES, Predictions, merge, predict
from scenerec.inference.evaluation.request import EvaluationRequest, Subject, origin
from scenerec.inference.evaluation.significance import Comparison, compare
from scenerec.inference.predictors.predictor import Predictor, check_names_classes
from scenerec.names import clean


@dataclass(frozen=True)
class Outcome:
    """A finished evaluation, alone or beside another."""

    request: EvaluationRequest
    """What was asked for."""
    data: PackedSet
    """Packed set that was evaluated on."""
    predictions: list[Predictions]
    """Answers of the model, and of the one that it is compared with."""
    evaluations: list[Evaluation]
    """Figures of the model, and of the one that it is compared with."""
    comparison: Comparison | None
    """Comparison of both models; None where there is one only."""
    finished_at: str
    """When the evaluation was done: UTC, ISO 8601, to the second."""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON values: the content of evaluation.json."""
        others = self.evaluations[1:]
        comparison = self.comparison
        return {
            "evaluation": asdict(self.evaluations[0]),
            "other": asdict(others[0]) if others else None,
            "comparison": {**asdict(comparison), "sentence": comparison.sentence} if comparison else None,
            **origin(self.request, self.data, self.finished_at),
        }


Answers = Predictions | MultilabelPredictions
"""Those of a classifier, or of a multi-label model."""
AnyOutcome = Outcome | MultilabelOutcome
"""That of a classifier, or of a multi-label model."""


def merge_answers(parts: Iterable[Answers]) -> Answers:
    """Joins the answers of all parts, which are of one kind. Raises as `merge` does."""
    parts = list(parts)
    labelled = [part for part in parts if isinstance(part, MultilabelPredictions)]
    return merge_labels(labelled) if labelled else merge(part for part in parts if isinstance(part, Predictions))


def evaluate(request: EvaluationRequest, predict_all: Callable[[Subject, int], Answers]) -> AnyOutcome:
    """Evaluates what `request` names; `predict_all(subject, samples)` answers for the set's first `samples`.

    Raises ScenerecError: models that do not open or do not fit the set, data that cannot be read.
    """
    data = open_set(request.data)
    samples = request.samples_of(data)
    predictions = [predict_all(subject, samples) for subject in request.subjects]
    for answers in predictions:
        if answers.samples != range(samples):
            raise ScenerecError(f"{len(answers.labels)} of {samples} samples were evaluated: evaluate again")
    finished_at, names = datetime.now(UTC).isoformat(timespec="seconds"), data.manifest.classes
    labelled = [answers for answers in predictions if isinstance(answers, MultilabelPredictions)]
    if labelled:
        figures = [assess_labels(answers, names) for answers in labelled]
        return MultilabelOutcome(request, data, labelled, figures, finished_at)
    classified = [answers for answers in predictions if isinstance(answers, Predictions)]
    return Outcome(
        request,
        data,
        classified,
        [assess(answers, names) for answers in classified],
        compare(classified[0].labels, *(answers.predicted for answers in classified)) if request.other else None,
        finished_at,
    )


class Examiner:
    """One model over shares of a set. Both are opened when they are first needed."""

    def __init__(self, request: EvaluationRequest, subject: Subject) -> None:
        self.request, self.subject = request, subject

    def predict(self, samples: range, on_batch: Callable[[int], None] = lambda images: None) -> Answers:
        """Answers for `samples`; `on_batch` is called with the number of images after each batch.

        Raises ScenerecError where the model or the set does not open, or they do not fit.
        """
        request, model, manifest = self.request, self.model, self.data.manifest
        preparation = Preparation.of(model, request.crops)
        batches = image_batches(self.data, samples, preparation, request.images_per_batch, request.threads)
        classes = len(manifest.classes)
        if manifest.is_multilabel:
            return predict_labels(model, batches, samples.start, request.crops, classes, on_batch)
        keep_logits = request.samples_of(self.data) * classes * 4 <= KEPT_LOGITS_BYTES
        return predict(
            model, batches, samples.start, request.crops, keep_logits, on_batch, classes, without_coordinates=True
        )

    @cached_property
    def data(self) -> PackedSet:
        """Packed set of the request."""
        return open_set(self.request.data)

    @cached_property
    def model(self) -> Predictor:
        """Model whose labels are the set's classes. Raises ScenerecError where it does not open or does not fit."""
        from scenerec.inference.predictors.open_predictor import open_predictor

        subject = self.subject
        model = open_predictor(subject.target, subject.framework, self.request.threads, subject.checkpoint)
        check_names_classes(model)
        check_labels(model, self.data)
        check_task(model, self.data)
        return model


def examine_here(
    request: EvaluationRequest, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> AnyOutcome:
    """Evaluates in this process; `on_progress` is given the images done and those there are, over both models."""
    done = 0

    def predict_all(subject: Subject, samples: int) -> Answers:
        total = samples * len(request.subjects)
        examiner = Examiner(request, subject)

        def on_batch(images: int) -> None:
            nonlocal done
            done += images
            on_progress(done, total)

        examiner.model  # noqa: B018 - opened before the clock starts
        on_progress(done, total)
        return examiner.predict(range(samples), on_batch)

    return evaluate(request, predict_all)


def check_task(model: Predictor, data: PackedSet) -> None:
    """Raises DataError where one of model and set is for one class an image, and the other for several labels."""
    if model.task == "multilabel" and not data.manifest.is_multilabel:
        raise DataError(f"{model.name}: gives several labels, and {data.url} has one an image: evaluate it on another")
    if data.manifest.is_multilabel and model.task != "multilabel":
        raise DataError(f"{model.name}: gives one class, and {data.url} has several labels: evaluate it on another")


def check_labels(model: Predictor, data: PackedSet) -> None:
    """Raises DataError where the model's labels are not the set's classes; one that knows no labels passes."""
    classes, where = data.manifest.classes, data.url
    if not model.labels:
        return
    if len(model.labels) != len(classes):
        problem = f"{len(model.labels)} labels, and {where} has {len(classes)} classes"
        raise DataError(f"{model.name}: has {problem}: evaluate it on a set of its own classes")
    for index, (ours, theirs) in enumerate(zip(model.labels, classes, strict=True)):
        if clean(ours) != clean(theirs):
            problem = f"label {index} is {ours!r}, and class {index} of {where} is {theirs!r}"
            raise DataError(f"{model.name}: {problem}: evaluate it on a set of its own classes")
