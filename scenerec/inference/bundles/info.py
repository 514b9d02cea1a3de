"""What bundle.json says of a model: how photographs are prepared, what goes in and out, where the model comes from."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from scenerec.config.task import ModelTask
from scenerec.data.manifest import Place
from scenerec.frozen import Frozen, Sha256
from scenerec.inference.bundles.precision import Precision
from scenerec.inference.bundles.validation import MultilabelValidation, Validation
from scenerec.models.geo import COORDINATES
from scenerec.models.preprocessing import WeightPreprocessing

ONNX_FILE = "model.onnx"
"""Name of an ONNX model."""
TFLITE_FILE = "model.tflite"
"""Name of a TFLite model."""

EMBEDDING = "embedding"
"""Name of the output of a model that gives features: its only one."""

ModelFormat = Literal["onnx", "tflite"]
"""Kind of a model file."""

MODEL_FILES: dict[ModelFormat, str] = {"onnx": ONNX_FILE, "tflite": TFLITE_FILE}
"""Maps the format of a model to the name of its file in the bundle."""

SERVED_FORMATS: frozenset[ModelFormat] = frozenset({"onnx"})
"""Formats of models that the endpoint serves."""

Route = Literal["torch", "tf2onnx", "twin", "tflite"]
"""How a network was converted: by torch's exporter, by tf2onnx, through the torch twin, by TensorFlow's converter."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Preprocessing(WeightPreprocessing):
    """What a photograph goes through before the model sees it."""

    image_size: int = Field(ge=1)
    """Side of the square that the network sees, in pixels."""
    in_graph: bool = True
    """Whether the graph takes uint8 RGB NHWC and normalises itself; else the caller gives normalised float32 NCHW."""

    @classmethod
    def of_weights(cls, preprocessing: WeightPreprocessing, image_size: int) -> "Preprocessing":
        """That of a network of images of `image_size`, whose weights expect `preprocessing`."""
        return cls(image_size=image_size, **preprocessing.model_dump())


class TensorContract(Frozen):
    """Name, type and shape of an input or output of the graph."""

    name: str
    """Name in the graph."""
    dtype: str
    """Type of the elements, by numpy's name."""
    shape: tuple[int | str, ...]
    """Length of each axis; a name for an axis of any length."""


class Verification(Frozen):
    """How far the exported model is from the framework's, on real images."""

    images: int
    """How many images were compared."""
    batch_sizes: tuple[int, ...]
    """Batch sizes that were tried."""
    max_difference: float
    """Largest difference of logits over their scale (the largest magnitude of a reference logit); or of features."""
    top1_agreement: float | None = None
    """Smallest share, over the batch sizes, of images with the same first label; none of features."""
    cosine: float | None = None
    """Smallest cosine similarity of an image's features to the framework's; none of a model that names classes."""

    def __str__(self) -> str:
        batches = ", ".join(map(str, self.batch_sizes))
        what, alike = "logits", f"top-1 agrees on {self.top1_agreement:.1%}" if self.top1_agreement is not None else ""
        if self.cosine is not None:
            what, alike = "features", f"the smallest cosine is {self.cosine:.6f}"
        difference = f"{what} differ by {self.max_difference:.1e} of their scale"
        return f"{self.images} images at batch {batches}: {difference}, {alike}"


class Lineage(Frozen):
    """Where the model comes from."""

    framework: Literal["torch", "tensorflow"] | None
    """Framework that trained the model; none where scenerec did not train it."""
    arch: str | None
    """Architecture of the zoo; none for a model that is not of it."""
    source: str
    """Checkpoint, file or import path that was exported."""
    route: Route
    """How the network was converted."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Config of the training job."""
    dataset_fingerprint: str | None = None
    """Fingerprint of the training set."""
    class_samples: tuple[int, ...] = ()
    """Images of each class in the training set, in order of class index; empty where that is not known."""
    first_weights: str = ""
    """What the training began with: `random`, NAME of ARCH for published weights, or an address; "" where that is not
    known."""
    licence: str = ""
    """Name of the licence of these weights; "" where it is not known, and for random ones."""
    published_top1: float | None = None
    """Top-1 accuracy of the first weights in percent, as their makers published it; none where it is not known."""
    published_image_size: int | None = None
    """Side in pixels of the images that they were evaluated on; none of weights that are not published ones."""
    teachers: dict[str, str] = Field(default_factory=dict)
    """Licence of each network that it learned from (optimize.distill), by what that began as; "" where it is not
    known."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that the export used, by name."""
    scenerec: str
    """Version of scenerec that exported the model."""
    exported_at: str
    """When the model was exported: UTC, ISO 8601."""


class FileInfo(Frozen):
    """Size and checksum of a file of the bundle."""

    size_bytes: int
    """Size of the file."""
    sha256: Sha256
    """SHA-256 of the file, in hexadecimal."""


class CardWords(Frozen):
    """What nobody but the user can say of a model, for its card."""

    intended_use: str = ""
    """What the model is for."""
    limitations: str = ""
    """What it is not for, and where it fails."""
    licence: str = ""
    """Under which licence it is handed on, by its SPDX identifier or in words."""


class BundleInfo(Frozen):
    """Content of bundle.json."""

    version: Literal[1] = 1
    """Version of the bundle format."""
    name: str
    """Name of the model: the run's."""
    format: ModelFormat = "onnx"
    """What the model file is."""
    precision: Precision = "fp32"
    """Arithmetic of the model."""
    target: str = "any"
    """Machine that the model was made for (`scenerec export --target`)."""
    task: ModelTask = "classification"
    """What the model answers. Probabilities of a multi-label model are those of each label by itself."""
    labels: tuple[str, ...]
    """Class names in order of class index; none where the task is `embedding`."""
    places: dict[str, Place] = Field(default_factory=dict)
    """Indoors or outdoors, and categories, by class name, where the training set's manifest tells."""
    preprocessing: Preprocessing
    """What a photograph goes through before the model sees it."""
    inputs: tuple[TensorContract, ...]
    """Inputs of the model: the images; where it reads coordinates, also `coordinates` and `known`."""
    outputs: tuple[TensorContract, ...]
    """Outputs of the model, each [batch, classes]: `probabilities`, at the temperature (of a multi-label model the
    logistic function of the logits), and `logits`, as the network gives them; of TFLite logits alone. Where the task is
    `embedding` its only output is that, [batch, features], as the backbone gives them: not of length 1."""
    opset: int | None = None
    """Version of ONNX's operator set; none for another format."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Metrics of the training run (val_top1, val_top5, val_loss), and what later gates measured."""
    verification: Verification | None = None
    """Comparison with the framework, before the bundle was written."""
    quantization: dict[str, Any] = Field(default_factory=dict)
    """How an int8 model was made, and what the gates measured."""
    validation: Validation | None = None
    """How good the exported model is, its temperature and its threshold; none where it was not measured."""
    multilabel_validation: MultilabelValidation | None = None
    """How good an exported multi-label model is, and the thresholds of its labels; none as above."""
    card: CardWords = CardWords()
    """What the user says of the model."""
    lineage: Lineage
    """Where the model comes from."""
    files: dict[str, FileInfo] = Field(default_factory=dict)
    """Size and checksum of every file but bundle.json, by name."""

    @property
    def takes_coordinates(self) -> bool:
        """Whether the model reads where an image was taken."""
        return any(each.name == COORDINATES for each in self.inputs)

    @property
    def embedding_size(self) -> int:
        """How many numbers a model whose task is `embedding` makes of an image; 0 of another."""
        return int(self.outputs[0].shape[-1]) if self.task == "embedding" else 0

    @property
    def temperature(self) -> float:
        """What logits are divided by before they become probabilities."""
        return self.validation.scaled.temperature if self.validation else 1.0

    @property
    def abstain_below(self) -> float | None:
        """Confidence below which the first class is no answer; None where the model always answers."""
        abstention = self.validation.abstention if self.validation else None
        return abstention.threshold if abstention else None

    @property
    def label_thresholds(self) -> tuple[float, ...]:
        """Probability from which on a multi-label model gives each label; empty where none was measured."""
        found = self.multilabel_validation
        return tuple(each.threshold for each in found.labels) if found else ()

    @property
    def can_be_served(self) -> bool:
        """Whether the endpoint serves models of this format."""
        return self.format in SERVED_FORMATS

    @property
    def licences(self) -> tuple[str, ...]:
        """Names of all known licences that its weights have inherited: the first weights' first, then its teachers'."""
        return tuple(dict.fromkeys(filter(None, (self.lineage.licence, *self.lineage.teachers.values()))))

    @field_validator("files")
    @classmethod
    def _lie_in_the_folder(cls, files: dict[str, FileInfo]) -> dict[str, FileInfo]:
        for name in files:
            if not _PLAIN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a plain file name")
        return files

    @model_validator(mode="after")
    def _describe_one_model(self) -> "BundleInfo":
        """Labels that do not fit the outputs would name scenes wrongly, and nothing else would tell."""
        if self.task == "embedding" and (self.labels or [output.name for output in self.outputs] != [EMBEDDING]):
            raise ValueError(f"a model that gives embeddings has no labels, and one output, {EMBEDDING}")
        for output in self.outputs:
            if self.task != "embedding" and output.shape[-1:] != (len(self.labels),):
                raise ValueError(f"{len(self.labels)} labels do not fit the output {output.name} {list(output.shape)}")
        if self.label_thresholds and len(self.label_thresholds) != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels do not fit {len(self.label_thresholds)} thresholds")
        for images in self.inputs[:1]:
            if self.preprocessing.image_size not in images.shape:
                raise ValueError(
                    f"images of {self.preprocessing.image_size} px do not fit the input {images.name} "
                    f"{list(images.shape)}"
                )
        return self
