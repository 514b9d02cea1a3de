"""A backbone's features in the store, a file for each shard of a set: what is there is never computed again.

    OUTPUT/.features/ARCH-KEY/about.json              what the features depend on, by which the folder has its key
    OUTPUT/.features/ARCH-KEY/SHARD.safetensors       `features`, float32 [n, d], and `labels`, int64 [n], of a shard

A file's name says the shard's content and what its labels mean. So several probes share features, a set that has grown
needs those of its new shards alone, and whoever is killed leaves whole files or none.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from scenerec.config.probe import ProbeConfig
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import DataError, ModelError
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.predictors.open_predictor import open_network
from scenerec.inference.predictors.predictor import NetworkInfo
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.json_object import JsonObject
from scenerec.storage import Patience, Storage, open_storage
from scenerec.training.probe import BATCH_SIZE, Features, joined
from scenerec.training.probing.backbone import Backbone, read_backbone

Split = Literal["train", "val"]
"""One of a probe's sets."""

SPLITS: tuple[Split, ...] = ("train", "val")
"""Both sets of a probe."""

ABOUT_FILE = "about.json"

_FOLDER = ".features"
_VERSION = 1  # of what a backbone makes of a shard, and of the files
_KEY_DIGITS, _NAME_DIGITS = 16, 32


class StoredFeatures(NamedTuple):
    """The features of a set, in its order."""

    rows: np.ndarray
    """float32 [n, d]."""
    labels: np.ndarray
    """Class indices, int64 [n]."""
    seconds: float
    """What they took, summed over the workers, whenever that was."""


class FeatureFolder:
    """The features of one backbone, local or in S3.

    Args:
        config: of the probe.
        backbone: read from it.
        patience: how long a store is waited for.
    """

    def __init__(self, config: ProbeConfig, backbone: Backbone, patience: Patience) -> None:
        self.about = _dependences(config, backbone)
        digest = hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()
        name = f"{backbone.config.arch.replace('/', '-')}-{digest[:_KEY_DIGITS]}"
        self.storage: Storage = open_storage(f"{config.output}/{_FOLDER}/{name}", patience)

    def missing(self, data: PackedSet) -> list[int]:
        """Indices of the shards of a set whose features are not there. Raises StorageError."""
        there = {info.key for info in self.storage.list()}
        return [index for index in range(len(data.manifest.shards)) if part_key(data, index) not in there]

    def write(self, data: PackedSet, shard: int, features: Features, seconds: float) -> None:
        """Writes the features of a shard, which took so long. Raises StorageError."""
        if self.storage.size(ABOUT_FILE) is None:
            self.storage.put(ABOUT_FILE, json.dumps(self.about, indent=1).encode())
        tensors = {"features": features.rows, "labels": features.labels, "seconds": np.array([seconds])}
        self.storage.put(part_key(data, shard), save(tensors))

    def read(self, data: PackedSet) -> StoredFeatures:
        """Reads the features of a set, which are all there. Raises DataError where one is damaged, StorageError."""
        parts = [self._read(data, shard) for shard in range(len(data.manifest.shards))]
        rows, labels = joined((part.rows, part.labels) for part in parts)
        return StoredFeatures(rows, labels, sum(part.seconds for part in parts))

    def _read(self, data: PackedSet, shard: int) -> StoredFeatures:
        key = part_key(data, shard)
        try:
            tensors = load(self.storage.get(key))
            part = StoredFeatures(tensors["features"], tensors["labels"], float(tensors["seconds"][0]))
            if len(part.rows) == len(part.labels) == data.manifest.shards[shard].samples:
                return part
        except (SafetensorError, KeyError, IndexError):
            pass
        raise DataError(f"{self.storage.url}/{key}: is damaged: delete it, and submit the probe again")


class FeatureTask(NamedTuple):
    """What a worker is given: a shard whose features it shall compute and write. Picklable and hashable."""

    config: str
    """The probe's config as JSON."""
    backbone: int
    """Index of the backbone."""
    split: Split
    """The set."""
    shard: int
    """Index of the shard."""


class FeatureMaker:
    """A backbone that computes features of shards, on the cores of this process that a worker has.

    Raises ModelError, StorageError.
    """

    def __init__(self, config: ProbeConfig, number: int) -> None:
        patience, self.threads = config.data.patience, config.scale.cpus_per_worker
        backbone, state = read_backbone(config, number, patience)
        self.name, self.sets = backbone.config.name, open_sets(config, patience)
        self.folder = FeatureFolder(config, backbone, patience)
        prepared = backbone.preprocessing
        self.preparation = Preparation.of(prepared)
        self.network = open_network(
            ZooNetwork(backbone.config.arch, 0, state),
            config.framework,
            NetworkInfo(self.name, (), prepared, "embedding"),
            self.threads,
            "cuda" if config.scale.gpus_per_worker else "cpu",
        )

    def make(self, split: Split, shard: int) -> int:
        """Computes and writes the features of a shard; returns how many images it has.

        Batches are cut from the shard's beginning, so that they do not depend on who computes them. Raises DataError,
        StorageError, and ModelError where a feature is no number.
        """
        data, began_s = self.sets[split], time.monotonic()
        ends = np.cumsum(data.manifest.shard_samples)
        images = range(int(ends[shard] - data.manifest.shards[shard].samples), int(ends[shard]))
        batches = image_batches(data, images, self.preparation, BATCH_SIZE, self.threads)
        made = joined((self.network.logits(batch.images), batch.labels) for batch in batches)
        if not np.isfinite(made.rows).all():
            raise ModelError(f"{self.name}: gives features that are not numbers: its weights are damaged or diverged")
        self.folder.write(data, shard, made, time.monotonic() - began_s)
        return len(made.labels)


def open_sets(config: ProbeConfig, patience: Patience, cached: bool = True) -> dict[Split, PackedSet]:
    """Opens the sets of a probe; `cached`: by the cache of this node. Raises DataError, StorageError."""
    data, cache = config.data, config.data.cache if cached else None
    assert isinstance(data.train, str)
    return {
        "train": open_set(data.train, data.train_share, cache, patience),
        "val": open_set(data.val, cache=cache, patience=patience),
    }


def missing_tasks(
    config: ProbeConfig, number: int, folder: FeatureFolder, sets: dict[Split, PackedSet]
) -> Iterator[FeatureTask]:
    """What is to be computed for the backbone at `number`. Raises StorageError."""
    document = config.model_dump_json()
    return (FeatureTask(document, number, split, shard) for split in SPLITS for shard in folder.missing(sets[split]))


def part_key(data: PackedSet, shard: int) -> str:
    """Key of the features of a shard: by what is in it, and by what its labels mean."""
    info = data.manifest.shards[shard]
    content = [info.sha256, info.samples, info.left_out, data.manifest.labels, data.manifest.classes]
    return f"{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_NAME_DIGITS]}.safetensors"


def _dependences(config: ProbeConfig, backbone: Backbone) -> JsonObject:
    """What decides the features of an image, to the last bit."""
    return {
        "version": _VERSION,
        "framework": config.framework,
        "arch": backbone.config.arch,
        "weights_sha256": backbone.digest,
        "preprocessing": backbone.preprocessing.model_dump(mode="json"),
        "batch_size": BATCH_SIZE,
        "features": backbone.features,
    }
