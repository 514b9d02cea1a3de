"""What is exported: a run's network, weights in a file, a Keras model, or any torch module."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scenerec.config.location import expand_location
from scenerec.data.manifest import Place, read_manifest
from scenerec.errors import ConfigError, ModelError
from scenerec.inference.bundles.bundle import Preprocessing
from scenerec.inference.predictors.trained_model import Framework, TrainedModel, ZooNetwork, load_trained
from scenerec.models import zoo
from scenerec.models.weights.files import file_format, read_weights
from scenerec.storage import open_storage, split_url


@dataclass(frozen=True)
class KerasNetwork:
    """A `.keras` file or a SavedModel."""

    path: Path


@dataclass(frozen=True)
class TorchNetwork:
    """What a callable of a Python module returns."""

    import_path: str
    """MODULE:CALLABLE"""


@dataclass(frozen=True)
class Stated:
    """What a user says of a model, over what it says itself."""

    name: str | None = None
    arch: str | None = None
    image_size: int | None = None
    eval_crop_ratio: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A network, and what its bundle will say of it."""

    name: str
    """Of the model: the run's name."""
    address: str
    """Checkpoint, file or import path."""
    network: ZooNetwork | KerasNetwork | TorchNetwork
    framework: Framework | None
    """That trained it; None where scenerec did not."""
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    averaged: bool = False
    """The weights are the run's moving averages."""
    metrics: dict[str, float] | None = None
    """Of the training run."""
    config: dict[str, Any] | None = None
    """The training job."""
    dataset_fingerprint: str | None = None
    places: dict[str, Place] = field(default_factory=dict)
    """What is known of the labels beside their names."""
    run_url: str | None = None
    """The run's folder."""
    validation_set: str | None = None
    """Where the run's validation set is packed."""

    @property
    def training_set(self) -> str | None:
        """Where the run's training set is packed."""
        return (self.config or {}).get("data", {}).get("train")


def open_source(target: str, checkpoint: str = "best", stated: Stated = Stated()) -> Source:
    """A run (its folder), a checkpoint, or a weight file (.safetensors, .pth, .keras and such) of a zoo architecture.

    Raises ConfigError for an address that is none and for what has to be stated, ModelError, CheckpointError,
    StorageError.
    """
    try:
        target = expand_location(target)
    except ValueError as error:
        raise ConfigError(f"{target}: {error}") from None
    if file_format(target):
        return _from_weight_file(target, stated)
    return from_trained(load_trained(target, checkpoint), stated)


def from_trained(model: TrainedModel, stated: Stated = Stated()) -> Source:
    """The model of a run or checkpoint. Raises ConfigError where its class names cannot be found."""
    if stated.arch and stated.arch != model.network.arch:
        raise ConfigError(f"--arch {stated.arch}: {model.url} is a {model.network.arch}: leave --arch out")
    return Source(
        name=stated.name or model.name,
        address=model.url,
        network=model.network,
        framework=model.framework,
        labels=_checked_labels(stated.labels or model.labels, model.network.classes, model.url),
        preprocessing=_stated_preprocessing(model.preprocessing, stated),
        averaged=model.averaged,
        metrics=model.metrics,
        config=model.config,
        dataset_fingerprint=model.dataset_fingerprint,
        run_url=model.url.rpartition("/checkpoints/")[0] or None,
        validation_set=model.validation_set,
    )


def keras_source(path: Path, stated: Stated) -> Source:
    """A `.keras` file or a SavedModel folder of any architecture. Raises ConfigError, ModelError."""
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder")
    return _foreign(KerasNetwork(path.absolute()), str(path), stated.name or path.stem, stated)


def torch_source(import_path: str, stated: Stated) -> Source:
    """The module that MODULE:CALLABLE returns. Raises ConfigError."""
    module, colon, attribute = import_path.partition(":")
    if not (module and colon and attribute):
        raise ConfigError(f"--torch {import_path}: must be MODULE:CALLABLE, such as my_package.models:build")
    return _foreign(TorchNetwork(import_path), import_path, stated.name or attribute, stated)


def _from_weight_file(url: str, stated: Stated) -> Source:
    weights = read_weights(url)
    arch = stated.arch or weights.arch
    if arch is None:
        raise ConfigError(f"{url}: does not tell its architecture: name it, such as --arch resnet50")
    entry = zoo.architecture(arch)
    head = weights.state.get(f"{entry.head}.weight")
    if head is None:
        raise ModelError(f"{url}: the weights do not fit {arch}: {entry.head}.weight is missing")
    size = weights.image_size or entry.image_size
    return Source(
        name=stated.name or split_url(url)[1].partition(".")[0],
        address=url,
        network=ZooNetwork(arch, len(head), weights.state),
        framework=None,
        labels=_checked_labels(stated.labels, len(head), url),
        preprocessing=_stated_preprocessing(Preprocessing(image_size=size, eval_crop_ratio=0.875), stated),
    )


def _foreign(network: KerasNetwork | TorchNetwork, address: str, name: str, stated: Stated) -> Source:
    if stated.image_size is None:
        raise ConfigError(f"{address}: state the side of its images in pixels: --image-size 224")
    if not stated.labels:
        raise ConfigError(f"{address}: {_LABELS_REMEDY}")
    preprocessing = Preprocessing(image_size=stated.image_size, eval_crop_ratio=0.875)
    return Source(name, address, network, None, stated.labels, _stated_preprocessing(preprocessing, stated))


_LABELS_REMEDY = "its class names are not known: give them with --labels FILE, one a line in order of class index"


def _checked_labels(labels: tuple[str, ...], classes: int, where: str) -> tuple[str, ...]:
    if not labels:
        raise ConfigError(f"{where}: {_LABELS_REMEDY}")
    if len(labels) != classes:
        raise ConfigError(f"{where}: has {classes} classes, --labels names {len(labels)}")
    return labels


def _stated_preprocessing(preprocessing: Preprocessing, stated: Stated) -> Preprocessing:
    changes = {
        field: getattr(stated, field)
        for field in ("image_size", "eval_crop_ratio", "mean", "std")
        if getattr(stated, field) is not None
    }
    return preprocessing.model_copy(update=changes)


def with_plain_input(source: Source) -> Source:
    """The same, for a graph that takes float NCHW pixels, which the caller normalises."""
    return replace(source, preprocessing=source.preprocessing.model_copy(update={"in_graph": False}))


def with_places(source: Source, data: str) -> Source:
    """The same, with what the manifest of the packed set `data` knows of its labels. Raises DataError, StorageError."""
    known = read_manifest(open_storage(data)).places
    return replace(source, places={label: known[label] for label in source.labels if label in known})
