"""A run's network with all that one needs to use it: weights, class names, preprocessing, and its results."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from scenerec.checkpoint import AVERAGES_FILE, STATE_FILE, RunState, best_checkpoint, list_checkpoints, read_run_state
from scenerec.config.task import ModelTask
from scenerec.data.class_names import parse_class_list
from scenerec.data.manifest import read_manifest
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, ConfigError, ModelError, ScenerecError
from scenerec.inference.bundles.info import Preprocessing
from scenerec.models.blocks import is_under
from scenerec.models.geo import PATH, GeoSpec
from scenerec.models.neutral import State
from scenerec.models.preprocessing import WeightPreprocessing
from scenerec.models.weights.files import read_weights
from scenerec.models.weights.origin import Origin
from scenerec.models.zoo import architecture
from scenerec.storage import IMPATIENT, Patience, open_storage, split_url

Framework = Literal["torch", "tensorflow"]
"""Framework of a network."""


@dataclass(frozen=True)
class ZooNetwork:
    """An architecture of the zoo, with weights."""

    arch: str
    """Name in the zoo."""
    classes: int
    """Classes of the head; 0 of a backbone alone, which gives features."""
    state: State
    """Weights by their neutral names."""
    geo: GeoSpec | None = None
    """How it reads coordinates; None where it sees images alone."""

    @property
    def of_images(self) -> "ZooNetwork":
        """The same, but that it sees images alone: it answers as it does where no place is known."""
        state = {key: array for key, array in self.state.items() if not is_under(key, PATH)}
        return replace(self, state=state, geo=None)

    @property
    def backbone(self) -> "ZooNetwork":
        """The same without its head, and of images alone: it gives features."""
        images, head = self.of_images, architecture(self.arch).head
        return replace(
            images, classes=0, state={k: array for k, array in images.state.items() if not is_under(k, head)}
        )


@dataclass(frozen=True)
class TrainedModel:
    """A run's network, as a checkpoint keeps it."""

    name: str
    """Name of the run."""
    url: str
    """Address of the checkpoint."""
    framework: Framework
    """Framework that wrote the checkpoint."""
    network: ZooNetwork
    """Network; the averages stand for the parameters where the run keeps them, as they are what it validates."""
    averaged: bool
    """Whether the run keeps averages of its parameters."""
    labels: tuple[str, ...]
    """Class names in order of class index; empty where they are not known."""
    preprocessing: Preprocessing
    """What a photograph goes through before the network sees it."""
    metrics: dict[str, float]
    """Metrics (val_top1, val_top5, val_loss) of the epoch that ended with the checkpoint; empty in mid-epoch."""
    config: dict[str, Any]
    """Config of the training job."""
    dataset_fingerprint: str | None
    """Fingerprint of the training set."""
    origin: Origin | None = None
    """What the run's first weights began as; None in checkpoints that are older than the field."""

    @property
    def task(self) -> ModelTask:
        """What it answers."""
        if not self.network.classes:
            return "embedding"
        return self.config.get("task", "classification")  # which the config of an older checkpoint does not have

    @property
    def validation_set(self) -> str | None:
        """Address of the run's packed validation set; of a pretraining that of its probe, if it has one."""
        return self.config.get("data", {}).get("val") or (self.config.get("probe") or {}).get("val")


def load_trained(target: str, checkpoint: str = "best", patience: Patience = IMPATIENT) -> TrainedModel:
    """Reads a run's or a checkpoint's model, which names classes. Arguments and errors are those of `load_any`.

    Raises ModelError for a pretraining, too.
    """
    model = load_any(target, checkpoint, patience)
    if not model.network.classes:
        weights_of = model.url.rpartition("/checkpoints/")[0] or model.url
        raise ModelError(
            f"{model.url}: is of a pretraining, which knows no classes: train a head on it (kind: train with "
            f"model.weights: {weights_of}), and take that run; or take its features (`scenerec export {weights_of}`)"
        )
    return model


def load_any(target: str, checkpoint: str = "best", patience: Patience = IMPATIENT) -> TrainedModel:
    """Reads a run's or a checkpoint's model: of a pretraining the backbone, without what averages it.

    Args:
        target: a run's folder (output/NAME), or a checkpoint's; local or s3://.
        checkpoint: of a run: `best`, `last` or a name such as step-000001000.
        patience: how long a store is waited for.

    Raises:
        ModelError: `target` is neither.
        CheckpointError: it has no such checkpoint, or it is damaged.
        StorageError: the store does not answer.
    """
    url = find_checkpoint(target, checkpoint, patience)
    folder, name = split_url(url)
    run = read_run_state(open_storage(folder, patience), name)
    is_classifier = run.identity["classes"] > 0  # a pretraining's averages are those of its momentum encoder
    averaged = is_classifier and open_storage(url, patience).size(AVERAGES_FILE) is not None
    weights = read_weights(url, averaged, patience)
    at_an_epochs_end = run.step == 0 and run.history
    return TrainedModel(
        name=run.config["name"],
        url=url,
        framework="tensorflow" if run.framework == "tensorflow" else "torch",
        network=_network(run, weights.state),
        averaged=averaged,
        labels=_labels(run) if is_classifier else (),
        preprocessing=Preprocessing.of_weights(
            WeightPreprocessing.of_data(run.config["data"]), run.config["data"]["image_size"]
        ),
        metrics=_metrics(run.history[-1]) if at_an_epochs_end else {},
        config=run.config,
        dataset_fingerprint=run.identity.get("training set"),
        origin=Origin(**run.origin) if run.origin else None,
    )


def find_checkpoint(target: str, checkpoint: str = "best", patience: Patience = IMPATIENT) -> str:
    """Returns the address of the checkpoint that `target` is, or of a run's. Raises as `load_trained` does."""
    target = target.rstrip("/")
    if open_storage(target, patience).size(STATE_FILE) is not None:
        return target
    checkpoints = open_storage(f"{target}/checkpoints", patience)
    names = list_checkpoints(checkpoints)
    if not names:
        raise ModelError(f"{target}: neither a run's folder (OUTPUT/NAME) with checkpoints, nor a checkpoint")
    if checkpoint == "last":
        return f"{checkpoints.url}/{names[-1]}"
    if checkpoint == "best":
        best = best_checkpoint(checkpoints)
        if best is None:
            raise CheckpointError(
                f"{target}: no epoch is finished, so none is best: `--checkpoint last` takes the newest"
            )
        return f"{checkpoints.url}/{best}"
    if checkpoint not in names:
        raise CheckpointError(f"{target}: has no checkpoint {checkpoint}: there are {', '.join(names)}, best and last")
    return f"{checkpoints.url}/{checkpoint}"


def read_labels(path: str) -> tuple[str, ...]:
    """Reads class names from a text file, one a line in order of class index, or as `parse_class_list` understands.

    Raises ConfigError where the file is no such list, StorageError where it cannot be read.
    """
    folder, key = split_url(path)
    try:
        return tuple(parse_class_list(open_storage(folder).get(key).decode("utf-8-sig")).values())
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text: write one class name a line") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _network(run: RunState, state: State) -> ZooNetwork:
    model = run.config["model"]
    geo = model.get("geo")  # which the config of an older checkpoint does not have
    return ZooNetwork(model["arch"], run.identity["classes"], state, GeoSpec(**geo) if geo else None)


def _metrics(epoch: EpochMetrics) -> dict[str, float]:
    """The validation metrics of an epoch, the loss last."""
    return dict(sorted(epoch.validation.items(), key=lambda metric: metric[0] == "val_loss"))


def _labels(run: RunState) -> tuple[str, ...]:
    if run.labels:
        return run.labels
    try:  # a checkpoint that is older than the field
        return read_manifest(open_storage(run.config["data"]["train"])).classes
    except ScenerecError:
        return ()
