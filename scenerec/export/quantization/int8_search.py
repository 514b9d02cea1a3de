"""The search for an int8 model: recipes are tried, measured, and let through two gates, accuracy and speed."""

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import ModelProto

from scenerec.data.packed_set import PackedSet
from scenerec.export.graphs import network_graph
from scenerec.export.quantization import sensitivity, speed
from scenerec.export.quantization.accuracy_gate import GateError, Score, score, score_features, top1_drop
from scenerec.export.quantization.attempt import Attempt
from scenerec.export.quantization.calibration import Calibration, Method
from scenerec.export.quantization.quantize import OPERATORS, Recipe, Scope, chosen, layers, prepare, quantize
from scenerec.export.quantization.speed import SpeedUp
from scenerec.export.torch_samples import sample_images
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import ONNX_FILE
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.evaluation.predictions import ImageBatch
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor

Say = Callable[[str], None]
"""Hears of each recipe in a line."""

_SCOPES: tuple[Scope, ...] = ("all", "all-but-stem", "layers-10k", "layers-50k")
_METHODS: tuple[Method, ...] = ("minmax", "99.999", "99.99", "99.9")
_SENSITIVITY_IMAGES = 16
_BATCH_SIZE = 32
_ALIKE = 1.1  # speed-ups within this factor count as equal: then accuracy decides
_WIDE_DROP, _WIDE_SPEED = 0.5, 1.25  # a wide margin: at most half of the loss that is allowed, a quarter faster


@dataclass(frozen=True)
class Settings:
    """What is searched, and what passes."""

    kind: Literal["static", "dynamic"] = "static"
    """Whether activations' ranges are calibrated, or found anew at each call."""
    activations: Literal["uint8", "int8"] = "uint8"
    """Type of the activations."""
    per_channel: tuple[bool, ...] = (True, False)
    """Whether weights have a scale for each channel: what is tried, the first one first."""
    calibration_images: int = 256
    """Images of the training set that ranges are measured on."""
    evaluation_images: int = 500
    """Images of the validation set for each recipe; what comes of the search is evaluated on the whole set."""
    max_top1_drop: float = 0.5
    """Largest loss of top-1 accuracy, in points (percent of the validation set)."""
    min_speedup: float | None = 1.0
    """Speed over float32 on this machine that each batch size must exceed; None for a model that runs elsewhere."""
    seconds: float = 1.5
    """How long a speed is measured at each batch size, in seconds."""
    threads: int = 0
    """Threads that evaluate; 0 takes all cores. Speeds are measured on one."""
    thorough: bool = False
    """Whether all forms are tried, and the best is taken; else the first that passes by a wide margin is."""


@dataclass(frozen=True)
class _Trial(Attempt):
    recipe: Recipe


@dataclass(frozen=True)
class Quantized:
    """An int8 model that passed the gates."""

    model: ModelProto
    """Graph in int8, with a symbolic batch."""
    report: dict[str, Any]
    """What was tried, what it gave and what was taken, for bundle.json."""


def quantize_bundle(
    bundle: Bundle, train: PackedSet, val: PackedSet, settings: Settings = Settings(), say: Say = lambda _: None
) -> Quantized:
    """Searches recipes for an int8 form of `bundle`, an ONNX bundle in float32 with a symbolic batch.

    First the scopes are compared; on the fastest, the formats; where none passes the accuracy gate, more and more of
    the most sensitive layers stay in float32. The first that passes both gates by a wide margin ends the search, unless
    `settings.thorough`. `say` hears of each recipe, and of those that were not tried.

    Raises:
        GateError: no recipe passes both gates; it carries the report.
        DataError, StorageError: of the sets.
    """
    with tempfile.TemporaryDirectory(prefix="scenerec-int8-") as folder:
        return _Search(bundle, train, val, settings, say, Path(folder)).run()


class _Search:
    def __init__(
        self, bundle: Bundle, train: PackedSet, val: PackedSet, settings: Settings, say: Say, folder: Path
    ) -> None:
        self.bundle, self.val, self.settings, self.say, self.folder = bundle, val, settings, say, folder
        self.base = OnnxPredictor(bundle, settings.threads)
        self.base_single = OnnxPredictor(bundle, threads=1)
        preprocessing = bundle.info.preprocessing
        sample = sample_images(train, preprocessing, settings.calibration_images)
        inputs = self.base.feeds(sample.images, sample.coordinates)
        self.calibration = Calibration(prepare(onnx.load(bundle.model_file)), inputs, OPERATORS)
        self.few = ImageBatch(*(each[:_SENSITIVITY_IMAGES] for each in sample if each is not None))
        self.batches = list(self._batches(min(settings.evaluation_images, val.manifest.samples)))
        self.labels = np.concatenate([batch.labels for batch in self.batches])
        self.reference = self._logits(self.base)
        self.base_score = self._score(self.reference)
        self.trials: list[_Trial] = []
        self.not_tried: list[Recipe] = []  # so far, of those that have no layer in float32
        self.whole: dict[Recipe, tuple[Score, Score]] = {}  # of float32 and of the recipe, on the whole set

    def run(self) -> Quantized:
        self.say(f"fp32: {self.base_score.accuracy_name} {self.base_score.accuracy:.1%} on {len(self.labels)} images")
        for trial in self._forms():
            if not self.settings.thorough and self._passes_widely(trial) and (quantized := self._on_whole_set(trial)):
                if left := "; ".join(map(str, self.not_tried)):
                    self.say(f"passes by a wide margin; not tried, as --thorough would: {left}")
                return quantized
        passing = sorted(filter(self._passes, self.trials), key=_preference, reverse=True)
        if not passing:
            raise self._inaccurate(max(filter(self._is_fast, self.trials), key=_accuracy))
        for trial in passing:
            if quantized := self._on_whole_set(trial):
                return quantized
        raise self._inaccurate(passing[0], *self.whole[passing[0].recipe])

    def _on_whole_set(self, trial: _Trial) -> Quantized | None:
        """The form as a model, if it passes the accuracy gate on the whole validation set, too."""
        if trial.recipe in self.whole:
            return None  # it did not
        model = quantize(self.calibration, trial.recipe)
        base, whole = self.whole[trial.recipe] = self._whole_set(model, trial)
        if top1_drop(base, whole) <= self.settings.max_top1_drop:
            return Quantized(model, self._report(trial, base, whole))
        named = f"{whole.accuracy_name} {whole.accuracy:.1%} (fp32 {base.accuracy:.1%})"
        self.say(f"{trial.recipe}: on the whole set {named}: not taken")
        return None

    def _forms(self) -> Iterator[_Trial]:
        """Tries one form after the other. Raises GateError where no scope is faster than float32."""
        scopes, changes = self._scopes(), self._format_changes()
        for number, recipe in enumerate(scopes, 1):
            trial = self._try(recipe)
            self.not_tried = [*scopes[number:], *(replace(recipe, **change) for change in changes)]
            yield trial
        best = self._fastest()
        for number, change in enumerate(changes, 1):  # each on the best so far
            trial = self._try(replace(best.recipe, **change))
            self.not_tried = [replace(trial.recipe, **later) for later in changes[number:]]
            yield trial
            if _accuracy(trial) > _accuracy(best) and self._is_fast(trial):
                best = trial
        if not any(map(self._passes, self.trials)):
            yield from self._keeping_sensitive_layers(best)

    def _scopes(self) -> list[Recipe]:
        """Recipes that differ in what they quantise."""
        first = Recipe(
            kind=self.settings.kind, per_channel=self.settings.per_channel[0], activations=self.settings.activations
        )
        alternatives = _SCOPES if self.settings.kind == "static" and self.settings.min_speedup is not None else ("all",)
        found: dict[tuple[str, ...], Recipe] = {}
        for scope in alternatives:
            recipe = replace(first, scope=scope)
            if nodes := chosen(self.calibration.model, recipe):
                found.setdefault(tuple(nodes), recipe)
        return list(found.values())

    def _fastest(self) -> _Trial:
        """The scope to go on with. Raises GateError where none is faster than float32."""
        if not self.trials:
            raise GateError(f"{self.bundle.url}: there is nothing to quantise in it", self._report())
        fast = [trial for trial in self.trials if self._is_fast(trial)]
        if not fast:
            best = max(self.trials, key=lambda trial: trial.speedup)
            raise GateError(
                f"{self.bundle.url}: no int8 bundle: it is not faster than fp32 on this machine: the fastest form "
                f"({best.recipe}) runs at {', '.join(map(str, best.speed))} (more than {self.settings.min_speedup:g}x "
                "is needed): stay with fp32",
                self._report(),
            )
        return max(fast, key=_preference)

    def _format_changes(self) -> list[dict[str, Any]]:
        """Properties of a recipe that are tried one after the other."""
        settings = self.settings
        changes: list[dict[str, Any]] = [{"per_channel": other} for other in settings.per_channel[1:]]
        if settings.kind == "static":
            changes += [{"symmetric": True}] if settings.activations == "uint8" else []
            changes += [{"method": method} for method in _METHODS[1:]]
        return changes

    def _keeping_sensitive_layers(self, best: _Trial) -> Iterator[_Trial]:
        """Twice as many from trial to trial, until one passes; at most half of the layers."""

        def logits(model: ModelProto) -> np.ndarray:
            return self._open(model).logits(self.few.images, self.few.coordinates)

        reference = self.base.logits(self.few.images, self.few.coordinates)
        ranking = sensitivity.measure(self.calibration, best.recipe, logits, reference)
        listed = ", ".join(f"{entry.layer} ({entry.snr_db:.0f} dB)" for entry in ranking[:5])
        self.say(f"most sensitive layers: {listed}")
        count = 1
        while count <= len(ranking) // 2:
            worst = tuple(entry.layer for entry in ranking[:count])
            trial = self._try(replace(best.recipe, float_layers=worst))
            yield trial
            if self._passes(trial):
                return
            count *= 2

    def _try(self, recipe: Recipe) -> _Trial:
        model = quantize(self.calibration, recipe)
        predictor = self._open(model)
        size_bytes = (self.folder / ONNX_FILE).stat().st_size
        speeds: tuple[SpeedUp, ...] = ()
        if self.settings.min_speedup is not None:
            speeds = speed.compare(self.base_single, self._open(model, threads=1), self.settings.seconds)
        trial = _Trial(str(recipe), self._score(self._logits(predictor)), size_bytes, speeds, recipe)
        self.trials.append(trial)
        self.say(str(trial))
        return trial

    def _open(self, model: ModelProto, threads: int | None = None) -> OnnxPredictor:
        network_graph.save(model, self.folder)
        bundle = Bundle(self.folder, self.bundle.info, self.bundle.url)
        return OnnxPredictor(bundle, self.settings.threads if threads is None else threads)

    def _score(self, logits: np.ndarray) -> Score:
        """Scores answers to the first images of the validation set against float32's."""
        if self.base.task == "embedding":
            return score_features(logits, self.reference)
        return score(logits, self.reference, self.labels)

    def _logits(self, model: OnnxPredictor) -> np.ndarray:
        return np.concatenate([model.logits(batch.images, batch.coordinates) for batch in self.batches])

    def _batches(self, samples: int) -> Iterator[ImageBatch]:
        """The validation set's first `samples`."""
        preprocessing = self.bundle.info.preprocessing
        preparation = Preparation.of(preprocessing)
        return image_batches(self.val, range(samples), preparation, _BATCH_SIZE, self.settings.threads)

    def _whole_set(self, model: ModelProto, trial: _Trial) -> tuple[Score, Score]:
        """Scores float32 and `model` on the whole validation set; features on few, which tell their mean cosine."""
        samples = self.val.manifest.samples
        if len(self.labels) == samples or self.base.task == "embedding":
            return self.base_score, trial.score
        quantized = self._open(model)
        answers = [
            (batch.labels, *(model.logits(batch.images, batch.coordinates) for model in (self.base, quantized)))
            for batch in self._batches(samples)
        ]
        labels, reference, logits = (np.concatenate(parts) for parts in zip(*answers, strict=True))
        return score(reference, reference, labels), score(logits, reference, labels)

    def _is_fast(self, trial: _Trial) -> bool:
        return self.settings.min_speedup is None or trial.speedup > self.settings.min_speedup

    def _passes(self, trial: _Trial) -> bool:
        return self._is_fast(trial) and top1_drop(self.base_score, trial.score) <= self.settings.max_top1_drop

    def _passes_widely(self, trial: _Trial) -> bool:
        """Whether a better form is not worth the time that finding it takes."""
        settings = self.settings
        is_fast = settings.min_speedup is None or trial.speedup > _WIDE_SPEED * settings.min_speedup
        return is_fast and top1_drop(self.base_score, trial.score) <= _WIDE_DROP * settings.max_top1_drop

    def _inaccurate(self, best: _Trial, base: Score | None = None, found: Score | None = None) -> GateError:
        base, found = base or self.base_score, found or best.score
        return GateError(
            f"{self.bundle.url}: no int8 bundle: the best of {len(self.trials)} recipes ({best.recipe}) loses "
            f"{top1_drop(base, found):.1f} points of {base.accuracy_name} (fp32 {base.accuracy:.1%}, int8 "
            f"{found.accuracy:.1%}, on {found.images} images): allow it with --max-top1-drop (now "
            f"{self.settings.max_top1_drop:g}), or stay with fp32",
            self._report(),
        )

    def _report(
        self, taken: _Trial | None = None, base: Score | None = None, whole: Score | None = None
    ) -> dict[str, Any]:
        report: dict[str, Any] = {
            "kind": self.settings.kind,
            "processor": speed.processor(),
            "calibration_images": self.calibration.images,
            "max_top1_drop": self.settings.max_top1_drop,
            "min_speedup": self.settings.min_speedup,
            "fp32": {**(base or self.base_score).as_dict(), "size_bytes": self.bundle.model_file.stat().st_size},
            "trials": [trial.as_dict() for trial in self.trials],
        }
        if taken and whole:
            nodes = set(chosen(self.calibration.model, taken.recipe))
            kept = [name for name in layers(self.calibration.model) if name not in nodes]
            report |= {
                "taken": {**taken.as_dict(), **whole.as_dict(), **asdict(taken.recipe), "float_layers": kept},
                "not_tried": [str(recipe) for recipe in self.not_tried],
            }
        return report


def _accuracy(trial: _Trial) -> tuple[float, float]:
    return trial.score.accuracy, trial.score.snr_db


def _preference(trial: _Trial) -> tuple[int, float, float]:
    """The fastest, and of those about as fast the most accurate."""
    return round(math.log(trial.speedup, _ALIKE)), *_accuracy(trial)
