"""What is exported: a run's network, weights in a file, a Keras model, or any torch module."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scenerec.config.location import expand_location
from scenerec.config.task import ModelTask
from scenerec.data.class_names import check_order
from scenerec.data.manifest import Place, read_manifest
from scenerec.errors import ConfigError, ModelError, ScenerecError
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.trained_model import Framework, TrainedModel, ZooNetwork, load_any
from scenerec.models import zoo
from scenerec.models.preprocessing import Interpolation
from scenerec.models.weights.files import head_classes, read_weights
from scenerec.models.weights.formats import file_format
from scenerec.models.weights.origin import Origin, find_origin
from scenerec.models.weights.preprocessing import find_preprocessing
from scenerec.names import clean
from scenerec.storage import open_storage, split_url


@dataclass(frozen=True)
class KerasNetwork:
    """A network in a `.keras` file or a SavedModel."""

    path: Path
    """File, or folder of the SavedModel."""


@dataclass(frozen=True)
class TorchNetwork:
    """A torch module that a callable of a Python module returns."""

    import_path: str
    """Import path of the callable, MODULE:CALLABLE."""


@dataclass(frozen=True)
class Stated:
    """What a user says of a model, over what the model says itself; None and () where nothing is said."""

    name: str | None = None
    """Name of the model."""
    arch: str | None = None
    """Architecture of the zoo."""
    image_size: int | None = None
    """Side of the images in pixels."""
    eval_crop_ratio: float | None = None
    """Share of the resized image that is kept."""
    mean: tuple[float, float, float] | None = None
    """Mean of red, green and blue in [0, 1]."""
    std: tuple[float, float, float] | None = None
    """Deviation of red, green and blue in [0, 1]."""
    interpolation: Interpolation | None = None
    """Filter by which photographs are resized."""
    labels: tuple[str, ...] = ()
    """Class names in order of class index."""
    embedding: bool = False
    """Whether the backbone alone is wanted, for its features; that of a pretraining is in any case."""


@dataclass(frozen=True)
class Source:
    """A network, and what its bundle will say of it."""

    name: str
    """Name of the model: the run's."""
    address: str
    """Checkpoint, file or import path that the network comes from."""
    network: ZooNetwork | KerasNetwork | TorchNetwork
    """Network with its weights, or where they are."""
    framework: Framework | None
    """Framework that trained the network; None where scenerec did not train it."""
    labels: tuple[str, ...]
    """Class names in order of class index; none of a backbone that gives features."""
    preprocessing: Preprocessing
    """What a photograph goes through before the network sees it."""
    averaged: bool = False
    """Whether the weights are the run's moving averages."""
    metrics: dict[str, float] | None = None
    """Metrics of the training run (val_top1, val_top5, val_loss)."""
    config: dict[str, Any] | None = None
    """Config of the training job."""
    dataset_fingerprint: str | None = None
    """Fingerprint of the training set."""
    places: dict[str, Place] = field(default_factory=dict)
    """Indoors or outdoors, and categories, by label."""
    run_url: str | None = None
    """Folder or s3:// prefix of the run; None where the network is of no run."""
    validation_set: str | None = None
    """Address of the run's packed validation set; of a pretraining that of its probe or, without one, of its images."""
    origin: Origin | None = None
    """What the training began with, and the licence of that; None where that is not known."""
    class_samples: tuple[int, ...] = ()
    """Images of each class in the training set, in order of class index; empty where that is not known."""
    task: ModelTask = "classification"
    """What the network answers."""

    @property
    def takes_coordinates(self) -> bool:
        """Whether the network reads where an image was taken."""
        return isinstance(self.network, ZooNetwork) and self.network.geo is not None

    @property
    def training_sets(self) -> tuple[str, ...]:
        """Addresses of the run's packed training sets."""
        train = (self.config or {}).get("data", {}).get("train")
        return tuple(each["set"] for each in train) if isinstance(train, list) else (train,) if train else ()

    @property
    def training_set(self) -> str | None:
        """Address of the run's packed training set; of several, the first."""
        return next(iter(self.training_sets), None)


def open_source(target: str, checkpoint: str = "best", stated: Stated = Stated()) -> Source:
    """Opens a run (its folder), a checkpoint, or a weight file of a zoo architecture (.safetensors, .pth, .keras).

    Raises ConfigError for an address that is none and for what has to be stated, ModelError, CheckpointError,
    StorageError.
    """
    try:
        target = expand_location(target)
    except ValueError as error:
        raise ConfigError(f"{target}: {error}") from None
    if file_format(target):
        return _from_weight_file(target, stated)
    return from_trained(load_any(target, checkpoint), stated)


def from_trained(model: TrainedModel, stated: Stated = Stated()) -> Source:
    """Takes the model of a run or checkpoint. Raises ConfigError where its class names are needed and not found."""
    if stated.arch and stated.arch != model.network.arch:
        raise ConfigError(f"--arch {stated.arch}: {model.url} is a {model.network.arch}: leave --arch out")
    network, task, labels = model.network, model.task, model.labels
    if stated.embedding:
        network, task, labels = network.backbone, "embedding", ()
    if task != "embedding":
        labels = _stated_labels(model, stated)
    elif stated.labels:
        raise ConfigError(f"--labels: {_NAMELESS}")
    source = Source(
        name=stated.name or model.name,
        address=model.url,
        network=network,
        framework=model.framework,
        labels=labels,
        preprocessing=_stated_preprocessing(model.preprocessing, stated),
        averaged=model.averaged,
        metrics=model.metrics,
        config=model.config,
        dataset_fingerprint=model.dataset_fingerprint,
        run_url=model.url.rpartition("/checkpoints/")[0] or None,
        validation_set=model.validation_set,
        origin=model.origin or _older_origin(model.config),
        task=task,
    )
    if task == "embedding" and source.validation_set is None:
        return replace(source, validation_set=source.training_set)
    return source


def _stated_labels(model: TrainedModel, stated: Stated) -> tuple[str, ...]:
    try:
        check_order(stated.labels, model.labels, model.url)
    except ValueError as error:
        raise ConfigError(f"--labels: {error}: put the labels in its order, or leave them out") from None
    return _checked_labels(stated.labels or model.labels, model.network.classes, model.url)


def keras_source(path: Path, stated: Stated) -> Source:
    """Takes a `.keras` file or a SavedModel folder of any architecture.

    Raises ModelError where there is none, and ConfigError for what has to be stated.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder")
    return _foreign(KerasNetwork(path.absolute()), str(path), stated.name or path.stem, stated)


def torch_source(import_path: str, stated: Stated) -> Source:
    """Takes the module that MODULE:CALLABLE returns. Raises ConfigError for what has to be stated."""
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
    if f"{entry.head}.weight" not in weights.state:  # a prefix stands before it, or it is not there
        from scenerec.models.torch_outline import state_shapes

        weights = weights.for_network(state_shapes(arch, classes=1), url)
    classes = head_classes(weights.state, arch)
    if classes is None and not stated.embedding:
        raise ModelError(
            f"{url}: the weights do not fit {arch}: {entry.head}.weight is missing (--embedding takes the features)"
        )
    if stated.embedding and stated.labels:
        raise ConfigError(f"--labels: {_NAMELESS}")
    network = ZooNetwork(arch, classes or 0, weights.state)
    size = weights.image_size or entry.image_size
    return Source(
        name=stated.name or split_url(url)[1].partition(".")[0],
        address=url,
        network=network.backbone if stated.embedding else network,
        framework=None,
        labels=() if stated.embedding else _checked_labels(stated.labels, network.classes, url),
        preprocessing=_stated_preprocessing(Preprocessing.of_weights(find_preprocessing(url, arch), size), stated),
        origin=find_origin(url, arch),
        task="embedding" if stated.embedding else "classification",
    )


def _older_origin(config: dict[str, Any]) -> Origin:
    """Of a checkpoint that does not tell it: as its config says it, as far as that can still be followed."""
    model = config["model"]
    weights = model.get("weights", "none")
    try:
        return find_origin(weights, model["arch"])
    except ScenerecError:
        return Origin(weights)


def _foreign(network: KerasNetwork | TorchNetwork, address: str, name: str, stated: Stated) -> Source:
    if stated.embedding:
        raise ConfigError("--embedding: is for networks of the zoo: let the module itself give its features")
    if stated.image_size is None:
        raise ConfigError(f"{address}: state the side of its images in pixels: --image-size 224")
    if not stated.labels:
        raise ConfigError(f"{address}: {_LABELS_REMEDY}")
    preprocessing = Preprocessing(image_size=stated.image_size)
    return Source(name, address, network, None, stated.labels, _stated_preprocessing(preprocessing, stated))


_NAMELESS = "embeddings name no classes: leave it out"
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
        for field in ("image_size", "eval_crop_ratio", "mean", "std", "interpolation")
        if getattr(stated, field) is not None
    }
    return preprocessing.model_copy(update=changes)


def with_plain_input(source: Source) -> Source:
    """Returns the same source, for a graph that takes float NCHW pixels, which the caller normalises."""
    return replace(source, preprocessing=source.preprocessing.model_copy(update={"in_graph": False}))


def with_places(source: Source, data: str) -> Source:
    """Returns the same source with what the manifest of the packed set `data` knows of its labels.

    Raises DataError or StorageError where the manifest cannot be read.
    """
    known = {clean(name): place for name, place in read_manifest(open_storage(data)).places.items()}
    return replace(source, places={label: known[clean(label)] for label in source.labels if clean(label) in known})


def with_class_samples(source: Source) -> Source:
    """Returns the same source with the number of its training images of each class, over all of its sets.

    Raises DataError or StorageError where a manifest cannot be read.
    """
    counts: Counter[str] = Counter()
    for data in source.training_sets:
        manifest = read_manifest(open_storage(data))
        counts.update(dict(zip(map(clean, manifest.classes), manifest.class_counts, strict=True)))
    samples = tuple(counts[clean(label)] for label in source.labels)
    return replace(source, class_samples=samples if any(samples) else ())


def check_labels(source: Source, data: str) -> None:
    """Raises ConfigError where the packed set `data` has the source's labels in another order.

    Raises DataError or StorageError where its manifest cannot be read.
    """
    try:
        check_order(source.labels, read_manifest(open_storage(data)).classes, data)
    except ValueError as error:
        raise ConfigError(
            f"{source.address}: {error}: put the labels in its order, or pack the set in theirs with "
            "`scenerec data pack --classes FILE`"
        ) from None
