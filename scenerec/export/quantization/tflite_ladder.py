"""TFLite models in int8 and float16: forms are made from the best one down, and the first that passes is taken."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scenerec.data.packed_set import PackedSet
from scenerec.export.conversion.child_process import ChildLimits
from scenerec.export.conversion.tf_lite import LIMITS, Form, convert
from scenerec.export.quantization import speed
from scenerec.export.quantization.accuracy_gate import GateError, Score, score, top1_drop
from scenerec.export.quantization.attempt import Attempt
from scenerec.export.source import Source
from scenerec.export.torch_samples import sample_images
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.predictors.predictor import Predictor
from scenerec.inference.predictors.tflite_predictor import TflitePredictor

LADDERS: dict[str, tuple[Form, ...]] = {"int8": ("int8", "int8-weights"), "fp16": ("fp16",)}
"""Precision -> its forms, the best first: the first that passes the gate is taken."""

_BATCH_SIZE = 32

Say = Callable[[str], None]
"""Hears of each form in a line."""


@dataclass(frozen=True)
class Settings:
    """What is made, and what passes."""

    calibration_images: int = 256
    """Images of the training set that int8's ranges are measured on."""
    max_top1_drop: float = 0.5
    """Largest loss of top-1 accuracy on the validation set, in points."""
    threads: int = 0
    """Threads that evaluate; 0 takes all cores. Speeds are measured on one."""
    seconds: float = 1.5
    """How long a speed is measured, in seconds."""
    limits: ChildLimits = LIMITS
    """What the converter's process may take."""


@dataclass(frozen=True)
class Converted:
    """A TFLite model that passed the gate."""

    model: bytes
    """Content of the `.tflite` file."""
    report: dict[str, Any]
    """What was tried, what it gave and what was taken, for bundle.json."""


def make(
    source: Source,
    precision: Literal["int8", "fp16"],
    reference: Predictor,
    train: PackedSet | None,
    val: PackedSet,
    settings: Settings = Settings(),
    say: Say = lambda _: None,
) -> Converted:
    """Converts `source`, and gates the accuracy of what comes of it; the speed over TFLite in float32 is reported.

    Args:
        source: a network of the zoo, or a `.keras` file.
        precision: of the model.
        reference: the network in its framework.
        train: for calibration; int8 needs it.
        val: the validation set.
        settings: what passes.
        say: hears of each form.

    Raises:
        GateError: no form of `precision` passes; it carries the report.
        ModelError: the network has no Keras form, or the converter fails.
        DataError, StorageError: of the sets.
    """
    calibration = sample_images(train, source.preprocessing, settings.calibration_images).images if train else None
    forms = LADDERS[precision]
    files = convert(source, ("fp32", *forms), calibration, settings.limits)
    base, attempts = _measure(files, forms, reference, source.preprocessing, val, settings)
    say(f"fp32: {base.accuracy_name} {base.accuracy:.1%} on {base.images} images")
    for attempt in attempts:
        say(f"TFLite {attempt} over TFLite in fp32 on this machine")
    report: dict[str, Any] = {
        "kind": "tflite",
        "processor": speed.processor(),
        "calibration_images": len(calibration) if calibration is not None else 0,
        "max_top1_drop": settings.max_top1_drop,
        "fp32": {**base.as_dict(), "size_bytes": len(files["fp32"])},
        "trials": [attempt.as_dict() for attempt in attempts],
    }
    for form, attempt in zip(forms, attempts, strict=True):
        if top1_drop(base, attempt.score) <= settings.max_top1_drop:
            return Converted(files[form], {**report, "taken": attempt.as_dict()})
    best = max(attempts, key=lambda attempt: attempt.score.accuracy)
    raise GateError(
        f"{source.address}: no TFLite bundle: {best.form} loses {top1_drop(base, best.score):.1f} points of "
        f"{base.accuracy_name} (fp32 {base.accuracy:.1%}, TFLite {best.score.accuracy:.1%}, on {base.images} images): "
        f"allow it with --max-top1-drop (now {settings.max_top1_drop:g})",
        report,
    )


def _measure(
    files: dict[Form, bytes],
    forms: Sequence[Form],
    reference: Predictor,
    preprocessing: Preprocessing,
    val: PackedSet,
    settings: Settings,
) -> tuple[Score, list[Attempt]]:
    """The reference's score, and what each form gave."""
    with tempfile.TemporaryDirectory(prefix="scenerec-tflite-") as temporary:
        paths = {form: Path(temporary) / f"{form}.tflite" for form in files}
        for form, path in paths.items():
            path.write_bytes(files[form])
        models = [reference, *(TflitePredictor(paths[form], settings.threads) for form in forms)]
        base, *scores = _scores(models, preprocessing, val)
        fp32 = TflitePredictor(paths["fp32"], threads=1)
        attempts = []
        for form, found in zip(forms, scores, strict=True):
            model = TflitePredictor(paths[form], threads=1)
            speeds = speed.compare(fp32, model, settings.seconds, batch_sizes=(1,))
            attempts.append(Attempt(form, found, len(files[form]), speeds))
    return base, attempts


def _scores(models: Sequence[Predictor], preprocessing: Preprocessing, val: PackedSet) -> list[Score]:
    """Scores all models on the whole set, against the first."""
    preparation = Preparation.of(preprocessing)
    labels: list[np.ndarray] = []
    answers: list[list[np.ndarray]] = [[] for _ in models]
    for batch in image_batches(val, range(val.manifest.samples), preparation, _BATCH_SIZE):
        labels.append(batch.labels)
        for model, logits in zip(models, answers, strict=True):
            logits.append(model.logits(batch.images))
    reference, *_ = found = [np.concatenate(logits) for logits in answers]
    return [score(logits, reference, np.concatenate(labels)) for logits in found]
