"""The story of an evaluation: what is asked for, predictions of one model or two, their figures, the files."""

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import yaml
from pydantic import Field

from scenerec import __version__
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import ConfigError, DataError, ScenerecError
from scenerec.frozen import Frozen
from scenerec.inference.evaluation.crops import Crops
from scenerec.inference.evaluation.metrics import Evaluation, assess
from scenerec.inference.evaluation.predictions import KEPT_LOGITS_BYTES, Predictions, predict
from scenerec.inference.evaluation.significance import Comparison, compare
from scenerec.inference.predictors.predictor import Predictor
from scenerec.storage import open_storage

_DEFAULT_BATCH_SIZE = 32


class Subject(Frozen):
    """What is evaluated."""

    target: str
    """A run, a checkpoint, a bundle or a .tflite file: a folder, file or s3:// address."""
    framework: Literal["torch", "tensorflow"] | None = None
    """Which runs a checkpoint; by default the one that trained it."""
    checkpoint: str = "best"
    """Of a run: `best`, `last` or a name."""


class EvaluationRequest(Frozen):
    """An evaluation to be made."""

    subject: Subject
    """The model."""
    other: Subject | None = None
    """The model to compare it with."""
    data: str
    """A packed set."""
    crops: Crops = 1
    """1: the centre; 10: the corners, the centre and their mirrors."""
    limit: int | None = Field(None, ge=1)
    """Evaluate the set's first samples only."""
    batch_size: int = Field(_DEFAULT_BATCH_SIZE, ge=1)
    """Images that the model is given at once; of ten crops, each counts."""
    threads: int = Field(0, ge=0)
    """Of the model, and as many that decode; 0: one a core."""
    workers: int = Field(0, ge=0)
    """Processes on a cluster; 0: none but this one."""
    gpus_per_worker: int = Field(0, ge=0)
    """On a cluster."""
    output: str | None = None
    """Folder or s3:// prefix for what comes of it."""

    @property
    def images_per_batch(self) -> int:
        """Images whose crops make a batch."""
        return max(1, self.batch_size // self.crops)

    def samples_of(self, data: PackedSet) -> int:
        """How many of the set's samples are evaluated."""
        return min(self.limit or data.manifest.samples, data.manifest.samples)

    @property
    def subjects(self) -> list[Subject]:
        """The model, and the one it is compared with."""
        return [self.subject, *([self.other] if self.other else [])]

    @property
    def command(self) -> str:
        """The command that asks for the same."""
        options: dict[str, object] = {
            "--framework": self.subject.framework,
            "--checkpoint": self.subject.checkpoint if self.subject.checkpoint != "best" else None,
            "--data": self.data,
            "--crops": self.crops if self.crops != 1 else None,
            "--limit": self.limit,
            "--batch-size": self.batch_size if self.batch_size != _DEFAULT_BATCH_SIZE else None,
            "--threads": self.threads or None,
            "--compare": self.other.target if self.other else None,
            "--compare-framework": self.other.framework if self.other else None,
            "--workers": self.workers or None,
            "--gpus-per-worker": self.gpus_per_worker or None,
            "--output": self.output,
        }
        given = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
        return shlex.join(["scenerec", "evaluate", self.subject.target, *given])


@dataclass(frozen=True)
class Outcome:
    """A finished evaluation."""

    request: EvaluationRequest
    data: PackedSet
    predictions: list[Predictions]
    """Of the model, and of the one it is compared with."""
    evaluations: list[Evaluation]
    comparison: Comparison | None
    finished_at: str
    """UTC, ISO 8601, to the second."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: evaluation.json."""
        manifest = self.data.manifest
        others = self.evaluations[1:]
        comparison = self.comparison
        return {
            "evaluation": asdict(self.evaluations[0]),
            "other": asdict(others[0]) if others else None,
            "comparison": {**asdict(comparison), "sentence": comparison.sentence} if comparison else None,
            "data": {
                "url": self.data.storage.url,
                "fingerprint": manifest.fingerprint,
                "samples": manifest.samples,
                "classes": len(manifest.classes),
            },
            "request": self.request.model_dump(mode="json"),
            "command": self.request.command,
            "finished_at": self.finished_at,
            "scenerec": __version__,
        }


def evaluate(request: EvaluationRequest, predict_all: Callable[[Subject, int], Predictions]) -> Outcome:
    """Evaluates what `request` names; `predict_all(subject, samples)` answers for the set's first `samples`.

    Raises ScenerecError: models that do not open or do not fit the set, data that cannot be read.
    """
    data = open_set(request.data)
    samples = request.samples_of(data)
    predictions = [predict_all(subject, samples) for subject in request.subjects]
    for answers in predictions:
        if answers.samples != range(samples):
            raise ScenerecError(f"{len(answers.labels)} of {samples} samples were evaluated: evaluate again")
    return Outcome(
        request,
        data,
        predictions,
        [assess(answers, data.manifest.classes) for answers in predictions],
        compare(predictions[0].labels, *(answers.predicted for answers in predictions)) if request.other else None,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


class Examiner:
    """One model over shares of a set. Opens both at their first use."""

    def __init__(self, request: EvaluationRequest, subject: Subject) -> None:
        self.request, self.subject = request, subject

    def predict(self, samples: range, on_batch: Callable[[int], None] = lambda images: None) -> Predictions:
        """Answers for `samples`; `on_batch` is called with the number of images after each batch.

        Raises ScenerecError.
        """
        from scenerec.inference.evaluation.torch_images import (  # torchvision: before tensorflow
            Preparation,
            image_batches,
        )

        request, model, manifest = self.request, self.model, self.data.manifest
        preparation = Preparation(model.image_size, model.eval_crop_ratio, request.crops)
        batches = image_batches(self.data, samples, preparation, request.images_per_batch, request.threads)
        classes = len(manifest.classes)
        keep_logits = request.samples_of(self.data) * classes * 4 <= KEPT_LOGITS_BYTES
        return predict(model, batches, samples.start, request.crops, keep_logits, on_batch, classes)

    @cached_property
    def data(self) -> PackedSet:
        """The set."""
        return open_set(self.request.data)

    @cached_property
    def model(self) -> Predictor:
        """The model, whose labels are the set's classes."""
        from scenerec.inference.predictors.open_predictor import open_predictor

        subject = self.subject
        model = open_predictor(subject.target, subject.framework, self.request.threads, subject.checkpoint)
        check_labels(model, self.data)
        return model


def examine_here(
    request: EvaluationRequest, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Outcome:
    """Evaluates in this process; `on_progress` is given the images done and those there are, over both models."""
    done = 0

    def predict_all(subject: Subject, samples: int) -> Predictions:
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


def check_labels(model: Predictor, data: PackedSet) -> None:
    """Raises DataError where the model's labels are not the set's classes; one that knows no labels passes."""
    classes, where = data.manifest.classes, data.storage.url
    if not model.labels:
        return
    if len(model.labels) != len(classes):
        problem = f"{len(model.labels)} labels, and {where} has {len(classes)} classes"
        raise DataError(f"{model.name}: has {problem}: evaluate it on a set of its own classes")
    for index, (ours, theirs) in enumerate(zip(model.labels, classes, strict=True)):
        if ours != theirs:
            problem = f"label {index} is {ours!r}, and class {index} of {where} is {theirs!r}"
            raise DataError(f"{model.name}: {problem}: evaluate it on a set of its own classes")


def check_writable(url: str) -> None:
    """Raises StorageError where nothing can be written at `url`: better before the work than after it."""
    storage = open_storage(url)
    storage.put(".writable", b"")
    storage.delete(".writable")


_DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "config.yaml": (),
    "state.json": ("config",),
    "bundle.json": ("lineage", "config"),
}
"""File of a run, a checkpoint or a bundle -> where in it the training's config is."""


def own_data(target: str) -> str:
    """The validation set of the training job that a run, checkpoint or bundle carries with it.

    Raises ConfigError where the target names none, or is not there.
    """
    if not target.endswith((".tflite", ".onnx")):
        storage = open_storage(target)
        described = [(file, keys) for file, keys in _DESCRIPTIONS.items() if storage.size(file) is not None]
        if not described:
            raise ConfigError(f"{target}: no run, checkpoint or bundle is there")
        for file, keys in described:
            found: Any = yaml.safe_load(storage.get(file))  # JSON is YAML
            for key in (*keys, "data", "val"):
                found = found.get(key) if isinstance(found, dict) else None
            if found:
                return str(found)
    raise ConfigError(f"{target}: does not name a validation set: give one with --data SET")


def run_output(request: EvaluationRequest) -> str | None:
    """Where an evaluation of a run goes: RUN/evaluations/SET-FINGERPRINT; None where the target is no run.

    Raises DataError, StorageError where the set does not open.
    """
    target = request.subject.target
    if target.endswith(".tflite") or open_storage(target).size("config.yaml") is None:
        return None
    fingerprint = open_set(request.data).manifest.fingerprint
    crops = "-10crops" if request.crops == 10 else ""
    return f"{target}/evaluations/{request.data.rpartition('/')[2]}-{fingerprint[:8]}{crops}"
