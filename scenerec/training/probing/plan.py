"""A probe that has been checked: what will be computed, on what, by how many workers, and where it goes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from scenerec.config.probe import ProbeConfig
from scenerec.data.packed_set import PackedSet
from scenerec.errors import CheckpointError, PlanError
from scenerec.models.weights.origin import RANDOM
from scenerec.storage.writable import check_writable
from scenerec.training.plan import NodeResources, check_classes, check_cluster
from scenerec.training.preflight import check_shards
from scenerec.training.probing.backbone import read_backbone
from scenerec.training.probing.features import SPLITS, FeatureFolder, Split, open_sets
from scenerec.training.run_folder import RunFolder

_LEAST_CLASSES = 2
_FLOAT32_BYTES, _FLOAT64_BYTES = 4, 8


@dataclass(frozen=True)
class PlannedBackbone:
    """A backbone that can be tried."""

    name: str
    """Architecture and weights."""
    licence: str
    """Of the weights, in words; empty of those that began as random ones."""
    is_random: bool
    """Whether the weights have learned nothing."""
    image_size: int
    """Side of its images in pixels."""
    features: int
    """Numbers that it makes of an image."""
    parameters: int
    """Its weights."""
    gflops: float
    """1e9 multiply-adds for an image."""
    folder: str
    """Address of its features."""
    missing_images: int
    """Images whose features are not there yet."""

    @property
    def words(self) -> str:
        """All of it in a line."""
        remark = "; random weights have learned nothing: a baseline" if self.is_random else ""
        size = f"{self.features} features at {self.image_size} px, {self.parameters / 1e6:.1f}M parameters"
        return f"{self.name}: {size}, {self.gflops:.3g} GFLOPs{remark}"


@dataclass(frozen=True)
class ProbePlan:
    """A probe that can start."""

    run_url: str
    """Folder of what comes of it."""
    framework: str
    """Framework that computes the features."""
    classes: int
    """Classes of the head."""
    train_samples: int
    """Images that the heads learn from."""
    val_samples: int
    """Images that they are judged on."""
    workers: int
    """Workers that compute features, at most."""
    cpus_per_worker: int
    """CPU cores of each."""
    gpus_per_worker: int
    """GPUs of each."""
    shards: int
    """Shards of both sets: a worker takes one at a time."""
    backbones: tuple[PlannedBackbone, ...]
    """What is tried."""
    decays: tuple[float, ...]
    """Weight decays that are tried for the linear head."""
    chooses_decay: bool
    """Whether images can be held back to choose among them."""

    @property
    def feature_bytes(self) -> int:
        """Size of all features in the store."""
        images = self.train_samples + self.val_samples
        return sum(_FLOAT32_BYTES * images * backbone.features for backbone in self.backbones)

    @property
    def missing_bytes(self) -> int:
        """Size of those that are not there yet."""
        return sum(_FLOAT32_BYTES * each.missing_images * each.features for each in self.backbones)

    @property
    def fitting_bytes(self) -> int:
        """Memory of the job's own process while it fits the widest head: features, once more in float64, and logits."""
        widest = max(backbone.features for backbone in self.backbones)
        row_bytes = _FLOAT32_BYTES * widest + _FLOAT64_BYTES * (widest + 1 + 2 * self.classes)
        return self.train_samples * row_bytes

    def as_dict(self) -> dict[str, object]:
        """The plan as plain JSON values."""
        sizes = {"feature_bytes": self.feature_bytes, "missing_bytes": self.missing_bytes}
        return {**asdict(self), **sizes, "fitting_bytes": self.fitting_bytes}

    def rows(self) -> list[tuple[str, str]]:
        """Rows of (what, value), for people."""
        several = f"each of {len(self.backbones)} frozen backbones" if len(self.backbones) > 1 else "a frozen backbone"
        resources = f"{self.cpus_per_worker} CPU" + (f", {self.gpus_per_worker} GPU" if self.gpus_per_worker else "")
        there = _size(self.feature_bytes - self.missing_bytes)
        images = sum(backbone.missing_images for backbone in self.backbones)
        return [
            ("run", self.run_url),
            ("model", f"a head of {self.classes} classes upon {several}, in {self.framework}"),
            *(("backbone", backbone.words) for backbone in self.backbones),
            *(("licence", f"{each.name}: {each.licence}") for each in self.backbones if each.licence),
            ("data", f"{self.train_samples:,} training images, {self.val_samples:,} to judge on, {self.shards} shards"),
            ("workers", f"{self.workers}, each {resources}"),
            ("features", f"{_size(self.feature_bytes)} in the store, {there} are there; {images:,} images to compute"),
            ("memory", f"{_size(self.fitting_bytes)} while the widest head is fitted"),
            ("decay", self._decay_words()),
            ("results", f"{self.run_url}/report.html, result.json, checkpoints/"),
        ]

    def _decay_words(self) -> str:
        if len(self.decays) == 1:
            return f"{self.decays[0]:g}"
        if not self.chooses_decay:
            middle = sorted(self.decays)[len(self.decays) // 2]
            return f"{middle:g}: no class has two training images, so that none can be held back to choose by"
        return f"one of {', '.join(f'{decay:g}' for decay in self.decays)}, by training images that are held back"


def check_probe(config: ProbeConfig, nodes: Sequence[NodeResources] | None = None, restart: bool = False) -> ProbePlan:
    """Checks sets, weights, output and, where `nodes` are given, the cluster; with `restart` no earlier result counts.

    Weights that the store lacks are fetched. Raises PlanError, DataError, StorageError, CheckpointError or ModelError,
    in one line.
    """
    folder = RunFolder(config.run_url)
    if not restart and (result := folder.read_result()) is not None:
        best = result.get("winner", "of another kind")
        raise CheckpointError(
            f"{folder.url}: this probe is finished (best: {best}): give the new one another name, which takes the "
            "features that are there, or start over with `scenerec submit --restart`"
        )
    sets = open_sets(config, config.data.patience, cached=False)
    train, val = (sets[split].manifest for split in SPLITS)
    if train.is_multilabel or val.is_multilabel:
        raise PlanError("data: has several labels an image, and a probe's heads tell one class: pack a set of such")
    check_classes(config.data, train, val)
    if len(train.classes) < _LEAST_CLASSES:
        raise PlanError(
            f"data.train: {config.data.train_names} has one class, {train.classes[0]!r}, and no other to tell it from: "
            "name a set of two classes or more"
        )
    if nodes is not None:
        check_cluster(config.scale, nodes, config.scale.min_workers)
    for data in sets.values():
        check_shards(data)
    check_writable(folder.url)
    return ProbePlan(
        run_url=config.run_url,
        framework=config.framework,
        classes=len(train.classes),
        train_samples=train.samples,
        val_samples=val.samples,
        workers=config.scale.max_workers,
        cpus_per_worker=config.scale.cpus_per_worker,
        gpus_per_worker=config.scale.gpus_per_worker,
        shards=len(train.shards) + len(val.shards),
        backbones=tuple(_planned(config, number, sets) for number in range(len(config.backbones))),
        decays=config.linear.decays,
        chooses_decay=bool(max(train.class_counts) > 1),
    )


def _planned(config: ProbeConfig, number: int, sets: dict[Split, PackedSet]) -> PlannedBackbone:
    backbone, _ = read_backbone(config, number, config.data.patience, download=True)
    folder = FeatureFolder(config, backbone, config.data.patience)
    return PlannedBackbone(
        name=backbone.config.name,
        licence=str(backbone.origin) if backbone.origin.weights != RANDOM else "",
        is_random=backbone.config.weights == "none",
        image_size=backbone.preprocessing.image_size,
        features=backbone.features,
        parameters=backbone.parameters,
        gflops=backbone.gflops,
        folder=folder.storage.url,
        missing_images=_missing_images(folder, sets),
    )


def _missing_images(folder: FeatureFolder, sets: dict[Split, PackedSet]) -> int:
    return sum(data.manifest.shards[shard].samples for data in sets.values() for shard in folder.missing(data))


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
