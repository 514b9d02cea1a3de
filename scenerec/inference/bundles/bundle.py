"""A bundle: a folder with a model and all that one needs to use it; `bundle.json` says what and lists checksums.

    model.onnx           the network (or model.tflite); beyond 2 GB beside it model.onnx.data
    golden.safetensors   a few prepared images and the logits they must give: a new version proves itself by them
    bundle.json          goes last; a folder without it is no bundle

Nothing in a bundle is ever unpickled or executed but the model itself.
"""

import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from scenerec.data.manifest import Place
from scenerec.errors import BundleError, NotFoundError
from scenerec.frozen import Frozen, parse_json
from scenerec.models.zoo import IMAGENET_MEAN, IMAGENET_STD
from scenerec.storage import open_storage

INFO_FILE = "bundle.json"
GOLDEN_FILE = "golden.safetensors"
ONNX_FILE = "model.onnx"
TFLITE_FILE = "model.tflite"

Route = Literal["torch", "tf2onnx", "twin", "tflite"]
"""How a network was converted: by torch's exporter, by tf2onnx, through the torch twin, by TensorFlow's converter."""

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic"]
"""Arithmetic of a model; in int8-dynamic the activations' scales are found at each call."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK_BYTES = 1 << 20


class Preprocessing(Frozen):
    """From a photograph to the model's input."""

    image_size: int = Field(ge=1)
    """Side of the square that the network sees, in pixels."""
    eval_crop_ratio: float = Field(gt=0, le=1)
    """Resize the short side to image_size / eval_crop_ratio (bilinear, antialiased), then crop the centre."""
    in_graph: bool = True
    """The graph takes uint8 RGB NHWC and normalises itself; else float32 NCHW, normalised by the caller."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of R, G, B in [0, 1]."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Of R, G, B in [0, 1]."""


class TensorContract(Frozen):
    """One input or output of the graph."""

    name: str
    """Its name in the graph."""
    dtype: str
    """numpy's name of its type."""
    shape: tuple[int | str, ...]
    """Its axes; a name for one of any length."""


class Verification(Frozen):
    """The exported model against the framework's, on real images."""

    images: int
    """How many."""
    batch_sizes: tuple[int, ...]
    """Batch sizes that were tried."""
    max_difference: float
    """Largest difference of logits over their scale (the largest magnitude of a reference logit)."""
    top1_agreement: float
    """Share of images with the same first label."""


class Lineage(Frozen):
    """Where the model comes from."""

    framework: Literal["torch", "tensorflow"] | None
    """What trained it; none for a model that scenerec did not train."""
    arch: str | None
    """Name in the zoo; none for a model that is not of it."""
    source: str
    """Checkpoint, file or import path that was exported."""
    route: Route
    """How it was converted."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The training job."""
    dataset_fingerprint: str | None = None
    """Of the training set."""
    scenerec: str
    """Version of scenerec that exported it."""
    exported_at: str
    """UTC, ISO 8601."""


class FileInfo(Frozen):
    """A file of the bundle."""

    size_bytes: int
    """Its size."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Its checksum."""


class BundleInfo(Frozen):
    """bundle.json."""

    version: Literal[1] = 1
    """Version of this format."""
    name: str
    """Of the model: the run's name."""
    format: Literal["onnx", "tflite"] = "onnx"
    """What the model file is."""
    precision: Precision = "fp32"
    """Arithmetic of the model."""
    target: str = "any"
    """What it was prepared for (`scenerec export --target`)."""
    labels: tuple[str, ...]
    """Class names in order of class index."""
    places: dict[str, Place] = Field(default_factory=dict)
    """By class name: indoors or outdoors, and categories, where the training set's manifest tells."""
    preprocessing: Preprocessing
    """From a photograph to the input."""
    inputs: tuple[TensorContract, ...]
    """The input."""
    outputs: tuple[TensorContract, ...]
    """`probabilities` and `logits`, both [batch, classes]."""
    opset: int | None = None
    """ONNX operator set."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Of the training run (val_top1, val_top5, val_loss), and what later gates measured."""
    verification: Verification | None = None
    """Against the framework, before the bundle was written."""
    quantization: dict[str, Any] = Field(default_factory=dict)
    """How an int8 model was made, and what the gates measured."""
    lineage: Lineage
    """Where it comes from."""
    files: dict[str, FileInfo] = Field(default_factory=dict)
    """Every file but this one."""

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
        for output in self.outputs:
            if output.shape[-1:] != (len(self.labels),):
                raise ValueError(f"{len(self.labels)} labels do not fit the output {output.name} {list(output.shape)}")
        for images in self.inputs:
            if self.preprocessing.image_size not in images.shape:
                raise ValueError(
                    f"images of {self.preprocessing.image_size} px do not fit the input {images.name} "
                    f"{list(images.shape)}"
                )
        return self


@dataclass(frozen=True)
class Golden:
    """Prepared images and what the model answers."""

    images: np.ndarray
    """uint8 [n, image_size, image_size, 3], RGB."""
    logits: np.ndarray
    """float32 [n, classes]"""

    def to_bytes(self) -> bytes:
        """As golden.safetensors."""
        return save_tensors({"images": np.ascontiguousarray(self.images), "logits": np.ascontiguousarray(self.logits)})


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are on this machine and were verified."""

    folder: Path
    info: BundleInfo
    url: str
    """Where it was opened from."""

    @property
    def model_file(self) -> Path:
        """The ONNX or TFLite file."""
        return self.folder / (ONNX_FILE if self.info.format == "onnx" else TFLITE_FILE)

    @property
    def model_bytes(self) -> int:
        """Size of the model on disk."""
        return sum(info.size_bytes for name, info in self.info.files.items() if name != GOLDEN_FILE)

    @cached_property
    def golden(self) -> Golden:
        """The golden images. Raises BundleError."""
        try:
            tensors = load_tensors((self.folder / GOLDEN_FILE).read_bytes())
            return Golden(tensors["images"], tensors["logits"])
        except (OSError, KeyError, SafetensorError) as error:
            raise BundleError(f"{self.url}/{GOLDEN_FILE}: {error}") from None


def write_bundle(url: str, info: BundleInfo, files: Mapping[str, bytes | Path]) -> BundleInfo:
    """Writes a bundle to a folder or s3:// prefix, in place of one that is there.

    Returns `info` with the files' checksums. Raises BundleError where something else than a bundle is there,
    StorageError.
    """
    storage = open_storage(url)
    if storage.size(INFO_FILE) is not None:
        replaced = read_info(url).files
        storage.delete(INFO_FILE)  # while its files change it is no bundle
        for name in replaced:
            storage.delete(name)
    if present := next(storage.list(), None):
        raise BundleError(f"{url}: holds {present.key}, which is of no bundle: export to another place")
    described = {name: _describe(content) for name, content in files.items()}
    for name, content in files.items():
        storage.put(name, content)
    complete = info.model_copy(update={"files": described})
    storage.put(INFO_FILE, complete.model_dump_json(indent=1).encode())
    return complete


def read_info(url: str) -> BundleInfo:
    """bundle.json alone. Raises BundleError where there is none or it is not one, StorageError."""
    storage = open_storage(url)
    try:
        content = storage.get(INFO_FILE)
    except NotFoundError:
        raise BundleError(f"{url}: not a bundle ({INFO_FILE} is missing): make one with `scenerec export`") from None
    return parse_json(BundleInfo, content, f"{url}/{INFO_FILE}: not a bundle of this version of scenerec", BundleError)


def open_bundle(url: str, cache: Path | None = None) -> Bundle:
    """Verifies a bundle, after fetching it where it is in S3, and returns it.

    Args:
        url: folder or s3:// prefix.
        cache: folder that fetched bundles go to, by checksum; a temporary one of this process by default.

    Raises:
        BundleError: it is truncated, changed, or not a bundle; the message names the file.
        StorageError: the store does not answer.
    """
    info = read_info(url)
    needed = {ONNX_FILE if info.format == "onnx" else TFLITE_FILE, GOLDEN_FILE}
    if missing := needed - info.files.keys():
        raise BundleError(f"{url}/{INFO_FILE}: does not list {sorted(missing)[0]}: export it again")
    folder = _fetch(url, info, cache) if url.startswith("s3://") else Path(open_storage(url).url)
    for name, expected in info.files.items():
        _verify(url, folder / name, expected)
    return Bundle(folder, info, url)


def _fetch(url: str, info: BundleInfo, cache: Path | None) -> Path:
    storage = open_storage(url)
    digest = hashlib.sha256(info.model_dump_json().encode()).hexdigest()[:24]
    folder = (cache or _process_cache()) / digest
    folder.mkdir(parents=True, exist_ok=True)
    for name, expected in info.files.items():
        path = folder / name
        if path.is_file() and path.stat().st_size == expected.size_bytes:
            continue
        try:
            content = storage.get(name)
        except NotFoundError:
            raise BundleError(f"{url}/{name}: is missing: export the bundle again") from None
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    return folder


_cache: tempfile.TemporaryDirectory[str] | None = None


def _process_cache() -> Path:
    global _cache
    if _cache is None:
        _cache = tempfile.TemporaryDirectory(prefix="scenerec-bundles-")
    return Path(_cache.name)


def _describe(content: bytes | Path) -> FileInfo:
    if isinstance(content, Path):
        return FileInfo(size_bytes=content.stat().st_size, sha256=_sha256(content))
    return FileInfo(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _verify(url: str, path: Path, expected: FileInfo) -> None:
    where = f"{url}/{path.name}"
    if not path.is_file():
        raise BundleError(f"{where}: is missing: export the bundle again")
    if path.stat().st_size != expected.size_bytes:
        raise BundleError(
            f"{where}: has {path.stat().st_size} bytes instead of {expected.size_bytes}: truncated or replaced"
        )
    if _sha256(path) != expected.sha256:
        if url.startswith("s3://"):
            path.unlink()  # our copy: the next attempt fetches it again
        raise BundleError(f"{where}: its checksum is not the one in {INFO_FILE}: it was changed after the export")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
