"""TFLite for the edge: a network's Keras form becomes a `.tflite` file, by TensorFlow's converter in a child process.

The model takes one uint8 image [1, height, width, 3], as phones and microcontrollers run them, and gives logits. No
TensorFlow here: the child (`tf_lite_worker`) imports it.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from scenerec.data.packed_set import PackedSet
from scenerec.errors import ModelError
from scenerec.export.conversion import child_process, tf_onnx
from scenerec.export.quantization import speed
from scenerec.export.quantization.accuracy_gate import GateError, Score, score, top1_drop
from scenerec.export.quantization.speed import SpeedUp
from scenerec.export.source import KerasNetwork, Source, TorchNetwork
from scenerec.export.torch_samples import sample_images
from scenerec.frozen import Frozen
from scenerec.inference.bundles.bundle import Preprocessing
from scenerec.inference.evaluation.torch_images import Preparation, image_batches
from scenerec.inference.predictors.predictor import Predictor
from scenerec.inference.predictors.tflite_predictor import TflitePredictor

Form = Literal["fp32", "fp16", "int8", "int8-weights"]
"""int8: integers from the first layer to the last; int8-weights: activations are in float32, quantised on the way."""

LADDERS: dict[str, tuple[Form, ...]] = {"int8": ("int8", "int8-weights"), "fp16": ("fp16",)}
"""Forms of a precision, the best first: the first that passes the gate is taken."""

LIMITS = child_process.ChildLimits(memory_bytes=8 * 2**30, time_s=3600.0)
"""The converter's quantiser holds a network several times."""

REQUEST_FILE = "request.json"
WEIGHTS_FILE = "weights.safetensors"
CALIBRATION_FILE = "calibration.npy"
FAILURE_FILE = "failure.txt"

_BATCH_SIZE = 32

Say = Callable[[str], None]


class Request(Frozen):
    """What the child is asked; the weights and the calibration images lie beside it."""

    network: tf_onnx.Request
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    forms: tuple[Form, ...]


@dataclass(frozen=True)
class Settings:
    """What passes."""

    calibration_images: int = 256
    """Of the training set, for int8."""
    max_top1_drop: float = 0.5
    """Largest loss of top-1 accuracy on the validation set, in points."""
    threads: int = 0
    """That evaluate; 0 takes all cores. Speeds are measured on one."""
    seconds: float = 1.5
    """For which a speed is measured."""
    limits: child_process.ChildLimits = LIMITS
    """Of the converter's process."""


@dataclass(frozen=True)
class Converted:
    """A TFLite model that passed the gate."""

    model: bytes
    report: dict[str, Any]
    """For bundle.json."""


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
    with tempfile.TemporaryDirectory(prefix="scenerec-tflite-") as temporary:
        paths = {form: Path(temporary) / f"{form}.tflite" for form in files}
        for form, path in paths.items():
            path.write_bytes(files[form])
        base, *scores = _scores(
            [reference, *(TflitePredictor(paths[form], settings.threads) for form in forms)], source.preprocessing, val
        )
        fp32 = TflitePredictor(paths["fp32"], threads=1)
        trials = [
            Trial(form, found, len(files[form]), _speed(fp32, TflitePredictor(paths[form], threads=1), settings))
            for form, found in zip(forms, scores, strict=True)
        ]
    report: dict[str, Any] = {
        "kind": "tflite",
        "processor": speed.processor(),
        "calibration_images": len(calibration) if calibration is not None else 0,
        "max_top1_drop": settings.max_top1_drop,
        "fp32": {**asdict(base), "size_bytes": len(files["fp32"])},
        "trials": [trial.describe() for trial in trials],
    }
    say(f"fp32: top-1 {base.top1:.1%} on {base.images} images")
    for trial in trials:
        say(str(trial))
    for trial in trials:
        if top1_drop(base, trial.score) <= settings.max_top1_drop:
            return Converted(files[trial.form], {**report, "taken": trial.describe()})
    best = max(trials, key=lambda trial: trial.score.top1)
    raise GateError(
        f"{source.address}: no TFLite bundle: {best.form} loses {top1_drop(base, best.score):.1f} points of top-1 "
        f"(fp32 {base.top1:.1%}, TFLite {best.score.top1:.1%}, on {base.images} images): allow it with "
        f"--max-top1-drop (now {settings.max_top1_drop:g})",
        report,
    )


@dataclass(frozen=True)
class Trial:
    """A form, and what it gave."""

    form: Form
    score: Score
    size_bytes: int
    speed: SpeedUp

    def describe(self) -> dict[str, Any]:
        """Plain JSON values."""
        speeds = [asdict(self.speed)]
        return {"form": self.form, **asdict(self.score), "size_bytes": self.size_bytes, "speed": speeds}

    def __str__(self) -> str:
        return (
            f"TFLite {self.form}: top-1 {self.score.top1:.1%}, agrees with fp32 on {self.score.agreement:.1%}, "
            f"{self.size_bytes / 1e6:.1f} MB, {self.speed.ratio:.2f}x TFLite in fp32 on this machine"
        )


def convert(
    source: Source,
    forms: Sequence[Form],
    calibration: np.ndarray | None = None,
    limits: child_process.ChildLimits = LIMITS,
) -> dict[Form, bytes]:
    """TFLite files of `source`.

    Args:
        source: a network of the zoo, or a `.keras` file.
        forms: which are made.
        calibration: uint8 images [n, image_size, image_size, 3], for "int8".
        limits: of the child process.

    Raises ModelError.
    """
    size = source.preprocessing.image_size
    network, state = source.network, None
    if isinstance(network, TorchNetwork):
        raise ModelError(f"{source.address}: TFLite is made from Keras, and only the zoo's networks have a Keras twin")
    if isinstance(network, KerasNetwork):
        if network.path.is_dir():
            raise ModelError(f"{source.address}: TFLite is made from Keras models: save it as a .keras file")
        asked = tf_onnx.Request(path=str(network.path.absolute()), image_size=size, opset=tf_onnx.OPSETS[0])
    else:
        state = network.state
        asked = tf_onnx.Request(arch=network.arch, classes=network.classes, image_size=size, opset=tf_onnx.OPSETS[0])
    mean, std = source.preprocessing.mean, source.preprocessing.std
    with tempfile.TemporaryDirectory(prefix="scenerec-tflite-") as temporary:
        folder = Path(temporary)
        request = Request(network=asked, mean=mean, std=std, forms=tuple(forms))
        (folder / REQUEST_FILE).write_text(request.model_dump_json())
        if state is not None:
            save_file({key: np.ascontiguousarray(array) for key, array in state.items()}, folder / WEIGHTS_FILE)
        if calibration is not None:
            np.save(folder / CALIBRATION_FILE, _with_extremes(calibration))
        try:
            child_process.run("scenerec.export.conversion.tf_lite_worker", folder, limits)
        except child_process.ChildError as error:
            failure = folder / FAILURE_FILE
            reason = failure.read_text() if failure.is_file() else f"TensorFlow's converter {error}"
            raise ModelError(f"{source.address}: {reason}") from None
        return {form: (folder / f"{form}.tflite").read_bytes() for form in forms}


def _with_extremes(images: np.ndarray) -> np.ndarray:
    """A copy with a black and a white pixel in the first image: the input's levels are then the bytes from 0 to 255."""
    changed = images.copy()
    changed[0, 0, 0], changed[0, -1, -1] = 0, 255
    return changed


def _scores(models: Sequence[Predictor], preprocessing: Preprocessing, val: PackedSet) -> list[Score]:
    """Of all models on the whole set, against the first."""
    preparation = Preparation(preprocessing.image_size, preprocessing.eval_crop_ratio)
    labels: list[np.ndarray] = []
    answers: list[list[np.ndarray]] = [[] for _ in models]
    for images, of_batch in image_batches(val, range(val.manifest.samples), preparation, _BATCH_SIZE):
        labels.append(of_batch)
        for model, logits in zip(models, answers, strict=True):
            logits.append(model.logits(images))
    reference, *_ = found = [np.concatenate(logits) for logits in answers]
    return [score(logits, reference, np.concatenate(labels)) for logits in found]


def _speed(base: TflitePredictor, model: TflitePredictor, settings: Settings) -> SpeedUp:
    return speed.compare(base, model, settings.seconds, batch_sizes=(1,))[0]
