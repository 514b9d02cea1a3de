"""How good an exported model is on its validation set, and from there its temperature and its threshold."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, pairwise

from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import BundleError, ConfigError
from scenerec.export.graphs import network_graph
from scenerec.export.job import ExportJob, Product
from scenerec.export.options import Options
from scenerec.export.source import Source
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.validation import (
    Abstention,
    ClassCounts,
    LabelValidation,
    MultilabelValidation,
    Reliability,
    Validation,
)
from scenerec.inference.evaluation.abstention import find_threshold
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.evaluation.metrics import Evaluation, assess
from scenerec.inference.evaluation.multilabel_evaluation import MultilabelEvaluation, assess_labels
from scenerec.inference.evaluation.multilabel_metrics import best_thresholds
from scenerec.inference.evaluation.multilabel_predictions import MultilabelPredictions, predict_labels
from scenerec.inference.evaluation.predictions import ImageBatch, Predictions, from_logits, predict
from scenerec.inference.evaluation.temperature import fit_temperature
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.inference.predictors.predictor import Predictor
from scenerec.names import same_names

FEWEST_IMAGES = 100
"""Fewest images that a temperature is fitted on."""

_BATCH_SIZE = 32
_PARTS = 20  # of a set, at even distances: one that is not shuffled has its classes one after the other


def validate(job: ExportJob, product: Product) -> Product:
    """Measures the model that was made, fits its temperature, and finds the threshold that was asked for.

    The answers are those of the finished model, in its arithmetic: int8 is calibrated as int8. An ONNX graph is written
    once more, with the temperature in its probabilities; no logit changes. A multi-label model gets a threshold for
    each label in place of a temperature: that of the highest F1. A model that gives features, or whose job knows no
    validation set of its classes, comes back as it is.

    Raises:
        BundleError: the model is not good enough on these images for the precision that was asked for.
        DataError, StorageError: the set cannot be read.
    """
    if job.source.task == "embedding":
        return product
    data = _validation_set(job.source, job.options)
    if data is None:
        job.say("neither temperature nor figures: there is no validation set of the model's classes to measure it on")
        return product
    parts = spread(data.manifest.samples, job.options.validation_images)
    if job.source.task == "multilabel":
        answers = _label_answers(job, product, data, parts)
        best = tuple(best_thresholds(answers.probabilities, answers.labels).tolist())
        found = assess_labels(replace(answers, thresholds=best), data.manifest.classes)
        info = product.info.model_copy(update={"multilabel_validation": _described_labels(data, found)})
        return replace(product, info=info)
    predictions = _answers(job, product, data, parts)
    logits, labels = predictions.logits, predictions.labels
    assert logits is not None
    temperature = fit_temperature(logits, labels) if len(labels) >= FEWEST_IMAGES else 1.0
    if len(labels) < FEWEST_IMAGES:
        job.say(f"no temperature is fitted on {len(labels)} images: {FEWEST_IMAGES} are needed")
    scaled = from_logits(predictions.predictor, 0, labels, logits, False, predictions.clock, temperature)
    validation = _described(data, predictions, scaled, temperature)
    if job.options.abstain_precision is not None:
        abstention = _abstention(job, scaled, job.options.abstain_precision)
        validation = validation.model_copy(update={"abstention": abstention})
    info = product.info.model_copy(update={"validation": validation})
    if product.model is None or temperature == 1:
        return replace(product, info=info)
    model = network_graph.with_temperature(product.model, temperature)
    network_graph.save(model, job.folder)  # weights that lie beside the graph stay there
    return replace(product, info=info, model=model)


def spread(samples: int, count: int) -> list[range]:
    """Chooses about `count` of a set's samples, in parts at even distances; all where there are no more."""
    if count >= samples:
        return [range(samples)]
    bounds = [(part * samples // _PARTS, part * count // _PARTS) for part in range(_PARTS + 1)]
    parts = [
        range(first, min(following, first + taken_after - taken))
        for (first, taken), (following, taken_after) in pairwise(bounds)
    ]
    return [part for part in parts if part]


def check_abstention(source: Source, options: Options) -> None:
    """Makes sure that there is what a threshold can be found on, where one is asked for.

    Raises ConfigError where there is not, DataError or StorageError where the set cannot be read.
    """
    if options.abstain_precision is not None and source.task == "multilabel":
        raise ConfigError("--abstain-precision: is for a model that tells one class: a multi-label one gives no label")
    if options.abstain_precision is not None and _validation_set(source, options) is None:
        where = options.data or source.validation_set
        why = f"the classes of {where} are not the model's" if where else "no validation set is known"
        remedy = "name a packed set with --data" if options.validation_images else "leave out --validation-images 0"
        raise ConfigError(
            f"--abstain-precision: {why if options.validation_images else 'nothing is measured'}: {remedy}"
        )


def _validation_set(source: Source, options: Options) -> PackedSet | None:
    """The set that is measured on; None where none is known, where it has other classes, and where none is wished."""
    where = options.data or source.validation_set
    if where is None or not options.validation_images:
        return None
    data = open_set(where)
    is_of_task = data.manifest.is_multilabel == (source.task == "multilabel")
    return data if is_of_task and same_names(data.manifest.classes, source.labels) else None


def _answers(job: ExportJob, product: Product, data: PackedSet, parts: Iterable[range]) -> Predictions:
    model = predictor_of(Bundle(job.folder, product.info, job.destination))
    batches = _batches(model, data, parts)
    return predict(model, batches, first=0, crops=1, keep_logits=True, classes=len(data.manifest.classes))


def _label_answers(job: ExportJob, product: Product, data: PackedSet, parts: Iterable[range]) -> MultilabelPredictions:
    model = predictor_of(Bundle(job.folder, product.info, job.destination))
    return predict_labels(model, _batches(model, data, parts), 0, 1, len(data.manifest.classes))


def _batches(model: Predictor, data: PackedSet, parts: Iterable[range]) -> Iterable[ImageBatch]:
    preparation = Preparation.of(model)
    return chain.from_iterable(image_batches(data, part, preparation, _BATCH_SIZE) for part in parts)


def _described_labels(data: PackedSet, found: MultilabelEvaluation) -> MultilabelValidation:
    return MultilabelValidation(
        data=data.url,
        fingerprint=data.manifest.fingerprint,
        samples=found.samples,
        map=found.map,
        f1_micro=found.f1_micro,
        f1_macro=found.f1_macro,
        loss=found.loss,
        labels=tuple(
            LabelValidation(
                samples=each.samples,
                average_precision=each.average_precision,
                threshold=each.threshold,
                precision=each.precision,
                recall=each.recall,
                f1=each.f1,
            )
            for each in found.classes
        ),
    )


def _described(data: PackedSet, unscaled: Predictions, scaled: Predictions, temperature: float) -> Validation:
    classes = data.manifest.classes
    before, after = assess(unscaled, classes), assess(scaled, classes)
    return Validation(
        data=data.url,
        fingerprint=data.manifest.fingerprint,
        samples=after.samples,
        correct=int(scaled.correct.sum()),
        top5=after.top5,
        unscaled=_reliability(before, 1.0),
        scaled=_reliability(after, temperature),
        classes=tuple(
            ClassCounts(samples=each.samples, correct=each.correct, predicted=each.predicted) for each in after.classes
        ),
    )


def _reliability(figures: Evaluation, temperature: float) -> Reliability:
    return Reliability(temperature=temperature, loss=figures.loss, calibration_error=figures.calibration_error)


def _abstention(job: ExportJob, answers: Predictions, precision: float) -> Abstention:
    """Raises BundleError where the images bear no such promise out."""
    found = find_threshold(answers.confidence, answers.correct, precision)
    if found is None:
        percents = range(1, int(100 * precision) + 1)
        most = next((each / 100 for each in reversed(percents) if _promises(answers, each / 100)), None)
        raise BundleError(
            f"{job.destination}: --abstain-precision {precision:g}: no confidence promises it on {len(answers.labels)} "
            f"images, of which {answers.correct.mean():.1%} are answered rightly"
            + (f"; {most:g} is the most that they promise" if most else "")
            + ": lower it, or measure on more images (--validation-images, --data)"
        )
    return Abstention(
        wished_precision=precision, threshold=found.threshold, coverage=found.coverage, precision=found.precision
    )


def _promises(answers: Predictions, precision: float) -> bool:
    return find_threshold(answers.confidence, answers.correct, precision) is not None
