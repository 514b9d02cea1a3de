"""A config, its data and a cluster resolved into a plan: pure, and what `scenerec submit --dry-run` prints."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from scenerec.config.data import DataConfig, InputConfig
from scenerec.config.optimize import OptimizeConfig
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.recipe import RECIPES
from scenerec.config.run import RunConfig
from scenerec.config.scale import ScaleConfig, WorkerRange
from scenerec.config.train import TrainConfig
from scenerec.data.lanes import Reading, choose_lanes, plan_reading
from scenerec.data.manifest import Manifest
from scenerec.data.order import steps_per_epoch
from scenerec.data.repeats import Repeats
from scenerec.data.sampling import epoch_class_counts
from scenerec.errors import PlanError
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing
from scenerec.models.weights.origin import RANDOM, Origin
from scenerec.names import clean, same_names
from scenerec.training.batchnorm import PreciseBatchNorm, plan_precise_batchnorm
from scenerec.training.teacher import TeacherPlan

_MUCH_FETCHED = 1.1  # bytes fetched in an epoch, over those of the set
_MUCH_BYTES = 10**9  # of a set: less is fetched soon, however often
_MUCH_HELD_BYTES = 4 * 10**9  # by one worker


@dataclass(frozen=True)
class NodeResources:
    """What one node of the cluster has in all, used or not."""

    cpus: float
    """CPU cores of the node."""
    gpus: float = 0
    """GPUs of the node."""


@dataclass(frozen=True)
class Plan:
    """A training job that is resolved: what will be trained, on what, by how many workers."""

    run_url: str
    framework: str
    arch: str
    classes: int
    """Classes of the head; 0 of a pretraining."""
    weights: str
    """What the run starts from, in words; `preflight` adds what becomes of the head."""
    train_samples: int
    train_bytes: int
    val_samples: int
    workers: tuple[int, ...]
    """Numbers of workers that divide the batch evenly; one number where it is fixed."""
    lanes: int
    global_batch_size: int
    batch_per_worker: int
    """Samples of each worker per optimizer step, at the largest number of workers."""
    steps_per_epoch: int
    total_steps: int
    dropped_per_epoch: int
    """Samples that fill no batch; they are others each epoch."""
    cpus_per_worker: int
    gpus_per_worker: int
    decode_processes: int
    reading: tuple[Reading, ...]
    """What is fetched and held, for each of `workers`."""
    precise_batchnorm: PreciseBatchNorm | None = None
    """How BatchNorm's statistics are re-estimated; None where the running averages are taken as they are."""
    class_weights: dict[str, float] = field(default_factory=dict)
    """What the loss of an image of each class is multiplied by, in order of class index; empty where that is 1. Of
    several labels an image: that of each label where it is there."""
    has_several_labels: bool = False
    """Whether an image may have several labels."""
    recipe: str = ""
    """What the file's `recipe` has made of the training, in words; empty where it names none."""
    method: str = ""
    """By what a backbone is pretrained; empty where labels are learned."""
    momentum_encoder: str = ""
    """What is wrong with a momentum encoder's momentum in a run of this length, in words; empty where nothing is."""
    teacher: TeacherPlan | None = None
    """From whom the network learns beside the labels, or instead of them; None where it learns from labels alone."""
    training_loss: str = ""
    """What makes the training loss another than val_loss, in words; empty where both are the same function."""
    repeats: int = 1
    """How often each image of a batch is in it, at least."""
    images_per_epoch: int = 0
    """Different images that an epoch takes, where classes are not evened out."""
    sizes: str = ""
    """Sizes of the images in words, where training sees another than evaluation; empty elsewhere."""
    compute: str = ""
    """What `compute` of the file makes of the training, in words; empty where it sets nothing."""
    origin: Origin | None = None
    """What the first weights began as, and their licence; None until `preflight` has found it."""
    preprocessing: WeightPreprocessing = IMAGENET
    """What becomes of the pixels; `preflight` finds what the first weights expect."""

    def as_dict(self) -> dict[str, object]:
        """The plan as plain JSON values."""
        preprocessing = self.preprocessing.model_dump(mode="json")
        return {**asdict(self), "workers": list(self.workers), "preprocessing": preprocessing}

    def rows(self) -> list[tuple[str, str]]:
        """Rows of (what, value), for people."""
        workers = " or ".join(map(str, self.workers))
        resources = f"{self.cpus_per_worker} CPU" + (f", {self.gpus_per_worker} GPU" if self.gpus_per_worker else "")
        dropped = (
            f" ({self.dropped_per_epoch} samples fill no batch and wait for another epoch)"
            if self.dropped_per_epoch
            else ""
        )
        rows = [
            ("run", self.run_url),
            ("model", f"{self.arch}, {self.method or f'{self.classes} classes'}, in {self.framework}"),
            ("weights", self.weights),
            *([("recipe", self.recipe)] if self.recipe else []),
            *([("licence", str(self.origin))] if self.origin and self.origin != Origin(RANDOM) else []),
            *self._published_row(),
            *([("pixels", self.preprocessing.words)] if self.preprocessing != IMAGENET else []),
            *([("teacher", str(self.teacher))] if self.teacher else []),
            (
                "data",
                f"{self.train_samples:,} training samples"
                + ("" if self.method else f", {self.val_samples:,} for validation")
                + f", {self.lanes} lanes",
            ),
            ("workers", f"{workers}, each {resources}, {self.decode_processes} decoding"),
            *([("compute", self.compute)] if self.compute else []),
            ("batch", f"{self.global_batch_size} = {self.batch_per_worker} on each of {self.workers[-1]} worker(s)"),
            ("steps", f"{self.steps_per_epoch} an epoch, {self.total_steps} in all{dropped}"),
            *self._repeats_row(),
            *([("sizes", self.sizes)] if self.sizes else []),
            *([("momentum", self.momentum_encoder)] if self.momentum_encoder else []),
            *(
                [("train_loss", f"{self.training_loss}: not to be compared with val_loss")]
                if self.training_loss
                else []
            ),
            *self._class_weights_row(),
            *self._reading_row(),
            ("results", f"{self.run_url}/metrics.jsonl, checkpoints/, tensorboard/, result.json"),
        ]
        if self.precise_batchnorm:
            rows.insert(-1, ("BatchNorm", str(self.precise_batchnorm)))
        return rows

    def _published_row(self) -> list[tuple[str, str]]:
        published = self.origin.published if self.origin else None
        return [("published", published.figures)] if published and published.figures else []

    def _repeats_row(self) -> list[tuple[str, str]]:
        if self.repeats == 1:
            return []
        often = f"each image of a batch {self.repeats} times, with another view each time"
        return [("repeats", f"{often}: {self.images_per_epoch:,} of the images an epoch, others in the next")]

    def _class_weights_row(self) -> list[tuple[str, str]]:
        if not self.class_weights:
            return []
        least, most = (choose(self.class_weights, key=self.class_weights.__getitem__) for choose in (min, max))
        weights = f"{self.class_weights[least]:.3g} ({least}) to {self.class_weights[most]:.3g} ({most})"
        if self.has_several_labels:
            return [("class weights", f"{weights} in the training loss where a label is there, 1 where it is not")]
        return [("class weights", f"{weights} in the training loss, 1 on average over an epoch's images")]

    def _reading_row(self) -> list[tuple[str, str]]:
        """A row where much is fetched more than once, or much is held in memory."""
        usual, most = self.reading[-1], max(self.reading, key=lambda reading: reading.fetched_share)
        held_bytes = max(reading.held_bytes for reading in self.reading)
        if held_bytes < _MUCH_HELD_BYTES and (most.fetched_share < _MUCH_FETCHED or self.train_bytes < _MUCH_BYTES):
            return []
        shares = f"{usual.fetched_share:.2f} times the set's {self.train_bytes / 1e9:.1f} GB an epoch"
        if most.fetched_share > _MUCH_FETCHED * usual.fetched_share:
            shares += f" ({most.fetched_share:.2f} times with {most.workers} workers)"
        held = f"up to {held_bytes / 1e9:.1f} GB in the memory of a worker"
        return [("reads", f"{shares}, {held}{self._sharing_of_lanes(most)}")]

    def _sharing_of_lanes(self, reading: Reading) -> str:
        """Says, where so many workers read the same lanes, which numbers near theirs do not."""
        if self.lanes % reading.workers == 0 or reading.fetched_share < _MUCH_FETCHED:
            return ""
        fitting = [n for n in range(1, self.lanes + 1) if self.lanes % n == 0 and self.global_batch_size % n == 0]
        near = (*[n for n in fitting if n < reading.workers][-1:], *[n for n in fitting if n > reading.workers][:1])
        numbers = " or ".join(map(str, near))
        return f"; {reading.workers} workers share the {self.lanes} lanes, {numbers} would not"


def resolve(
    config: RunConfig,
    train: Manifest,
    val: Manifest,
    nodes: Sequence[NodeResources] | None = None,
    resumed_lanes: int | None = None,
) -> Plan:
    """The plan of a run; `nodes` is the cluster, None where it is not to be checked.

    `val` is not asked of a pretraining, which has its training set there once more. `resumed_lanes` are those of the
    run's checkpoints, None for a new run.

    Raises PlanError, in one line, where config, data and cluster do not fit each other.
    """
    if isinstance(config, TrainConfig):
        _check_task(config, train, val)
        check_classes(config.data, train, val, config.optimize.reads_labels)
        _check_threshold(config.optimize, len(learned_classes(config, train, val)))
    batch = config.optimize.global_batch_size
    workers = _allowed_workers(config)
    steps = steps_per_epoch(train.samples, batch)
    if not steps:
        of_recipe = (
            f", which the recipe {config.recipe} sets" if isinstance(config, TrainConfig) and config.recipe else ""
        )
        raise PlanError(
            f"optimize.global_batch_size: {batch}{of_recipe} exceeds the {train.samples} samples of "
            f"{config.data.train_names}: lower it"
        )
    lanes = resumed_lanes or config.data.lanes
    if lanes == "auto":
        lanes = choose_lanes(workers, train.shard_samples.tolist(), train.shard_bytes.tolist())
    if workers[-1] > lanes:
        raise PlanError(
            f"scale.workers: {workers[-1]} workers need at least as many lanes, and there are {lanes} "
            f"(data.lanes, at most the {train.samples} training samples)"
        )
    if lanes > train.samples:
        raise PlanError(f"data.lanes: {lanes} lanes exceed the {train.samples} samples of {config.data.train_names}")
    if nodes is not None:
        check_cluster(config.scale, nodes, workers[0])
    per_worker, taking = batch // workers[-1], Repeats(config.data.repeats, batch, lanes)
    return Plan(
        run_url=config.run_url,
        framework=config.framework,
        arch=config.model.arch,
        classes=len(learned_classes(config, train, val)) if isinstance(config, TrainConfig) else 0,
        weights=config.model.weights,
        train_samples=train.samples,
        train_bytes=train.size_bytes,
        val_samples=val.samples,
        workers=workers,
        lanes=lanes,
        global_batch_size=batch,
        batch_per_worker=per_worker,
        steps_per_epoch=steps,
        total_steps=steps * config.optimize.epochs,
        dropped_per_epoch=train.samples - steps * batch,
        cpus_per_worker=config.scale.cpus_per_worker,
        gpus_per_worker=config.scale.gpus_per_worker,
        decode_processes=_decode_processes(config),
        reading=_reading(config, train, taking, workers, nodes),
        repeats=config.data.repeats,
        sizes=_sizes(config.data),
        compute=_compute(config),
        images_per_epoch=steps * taking.items_per_batch,
        precise_batchnorm=plan_precise_batchnorm(config, train.samples, steps),
        has_several_labels=train.is_multilabel,
        training_loss=config.training_loss if isinstance(config, TrainConfig) else "",
        recipe=_recipe(config) if isinstance(config, TrainConfig) and config.recipe else "",
        method=config.pretrain.method if isinstance(config, PretrainConfig) else "",
    )


def _recipe(config: TrainConfig) -> str:
    optimize = config.optimize
    assert config.recipe is not None
    reached = f"it has reached {RECIPES[config.recipe].reached}"
    return (
        f"{config.recipe}: {optimize.optimizer}, learning rate {optimize.lr:g}, {optimize.epochs} epochs, loss "
        f"{optimize.loss}; {reached}; `scenerec validate` shows all that it has set"
    )


def _compute(config: RunConfig) -> str:
    """Each key that is set, and where it does nothing in this job, why."""
    keys, is_torch = config.compute, config.framework == "torch"
    without_gpu = "" if config.scale.gpus_per_worker else "does nothing without GPUs (scale.gpus_per_worker)"
    told = {
        "compile": "the training step by " + ("torch.compile" if is_torch else "XLA"),
        "fused_optimizer": "" if is_torch else "does nothing in TensorFlow (compile fuses updates there)",
        "recompute_activations": "by blocks, for less memory",
        "tf32": without_gpu,
        "cudnn_benchmark": without_gpu,
    }
    return "; ".join(f"{key} {words}".strip() for key, words in told.items() if getattr(keys, key))


def _sizes(data: InputConfig) -> str:
    if data.training_size == data.image_size:
        return ""
    return f"trained on images of {data.training_size} px; evaluated, and later exported, at {data.image_size} px"


def learned_classes(config: RunConfig, train: Manifest, val: Manifest) -> tuple[str, ...]:
    """Names of the classes that the network learns to tell apart, in order of class index.

    The training set's; where its labels are not read, the validation set's.
    """
    return train.classes if config.optimize.reads_labels else val.classes


def check_classes(data: DataConfig, train: Manifest, val: Manifest, reads_labels: bool = True) -> None:
    """Raises PlanError where one set's classes are not the other's, a class has no image, or the sets share shards.

    Where labels of training images are not read, their classes do not count.
    """
    if reads_labels and not same_names(train.classes, val.classes):
        odd = sorted(set(map(clean, train.classes)) ^ set(map(clean, val.classes)))
        what = f"{odd[0]!r} is in one of them only" if odd else "the order differs"
        raise PlanError(
            f"data.val: its classes are not those of data.train ({what}): pack both from the same class list"
        )
    if shared := {shard.sha256 for shard in train.shards} & {shard.sha256 for shard in val.shards}:
        what = "the same set as" if len(shared) == len(val.shards) else f"{len(shared)} shards in common with"
        raise PlanError(
            f"data.val: {data.val} is {what} data.train: what is trained on cannot validate: "
            "name another split, such as .../val"
        )
    empty = [train.classes[index] for index, count in enumerate(train.class_counts) if count == 0]
    if reads_labels and empty:
        remedy = "add some, or remove the class and pack again"
        if data.train_share < 1:
            remedy = f"raise data.train_share ({data.train_share:g}), or pack with smaller shards"
        raise PlanError(f"data.train: class {empty[0]!r} has no image in {data.train_names}: {remedy}")


def check_taken(config: TrainConfig, train: Sequence[tuple[Manifest, float]]) -> None:
    """Raises PlanError where no epoch takes an image of a class: of so small a share of a mixture none is left.

    `train` are the training sets with their weights. All epochs take equally many images of a class.
    """
    if len(train) == 1 or not config.optimize.reads_labels:
        return
    manifests, weights = [manifest for manifest, _ in train], [weight for _, weight in train]
    taken = epoch_class_counts(manifests, weights, config.data.balance)
    if not taken.all():
        name = manifests[0].classes[int(taken.argmin())]
        raise PlanError(
            f"data.train: no epoch takes an image of class {name!r}, so small is the share of the sets that have any: "
            "raise their weights, or even the classes out (data.balance)"
        )


def _check_task(config: TrainConfig, train: Manifest, val: Manifest) -> None:
    is_multilabel = config.task == "multilabel"
    for name, url, manifest in (("train", config.data.train_names, train), ("val", config.data.val, val)):
        if is_multilabel and not manifest.is_multilabel:
            raise PlanError(
                f"data.{name}: {url} has one class an image: leave task: multilabel out, or pack a list of several "
                "labels (docs/multi-label.md)"
            )
        if manifest.is_multilabel and not is_multilabel:
            raise PlanError(f"data.{name}: {url} has several labels an image: set task: multilabel")
    if is_multilabel and not val.class_counts.any():
        raise PlanError(f"data.val: no image of {config.data.val} has a label, so that nothing tells a good answer")


def _check_threshold(optimize: OptimizeConfig, classes: int) -> None:
    """Targets that are smoothed and then cut at bce_threshold must still tell an image's class from the others."""
    threshold, smoothing = optimize.bce_threshold, optimize.label_smoothing
    if threshold is None or not optimize.reads_labels:
        return
    others, own = smoothing / classes, 1 - smoothing + smoothing / classes
    if others <= threshold < own or classes == 1:
        return
    is_low = threshold < others
    raise PlanError(
        f"optimize.bce_threshold: {threshold:g} makes all targets {'1' if is_low else '0'}, since label_smoothing "
        f"{smoothing:g} over {classes} classes leaves {own:.3g} to an image's class and {others:.3g} to each other: "
        f"{'raise' if is_low else 'lower'} it to a number between them, or lower optimize.label_smoothing"
    )


def _allowed_workers(config: RunConfig) -> tuple[int, ...]:
    optimize, scale = config.optimize, config.scale
    unit = optimize.accumulate_steps
    counts = range(scale.min_workers, scale.max_workers + 1)
    allowed = tuple(count for count in counts if optimize.global_batch_size % (count * unit) == 0)
    if allowed:
        return allowed
    per_step = f" x optimize.accumulate_steps ({unit})" if unit > 1 else ""
    workers = (
        f"{scale.min_workers} to {scale.max_workers}" if isinstance(scale.workers, WorkerRange) else str(scale.workers)
    )
    fitting = optimize.global_batch_size // (scale.max_workers * unit) * scale.max_workers * unit
    raise PlanError(
        f"optimize.global_batch_size: {optimize.global_batch_size} is not divisible by scale.workers "
        f"({workers}){per_step}; {fitting or scale.max_workers * unit} would be"
    )


def check_cluster(scale: ScaleConfig, nodes: Sequence[NodeResources], workers: int) -> None:
    """Raises PlanError where the nodes have no room for so many workers, the fewest that can train."""
    room = room_for(scale, nodes)
    if room >= workers:
        return
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    raise PlanError(
        f"scale.workers: {workers} workers of {scale.cpus_per_worker} CPU and {scale.gpus_per_worker} GPU "
        f"each: the cluster has room for {room} ({cpus:g} CPU, {gpus:g} GPU on {len(nodes)} node(s)): lower "
        "scale.workers or cpus_per_worker, or, where the cluster grows by itself, --no-cluster-check"
    )


def room_for(scale: ScaleConfig, nodes: Sequence[NodeResources]) -> int:
    """Workers of this size that the nodes can hold at once."""
    return sum(workers_on(node, scale.cpus_per_worker, scale.gpus_per_worker) for node in nodes)


def _reading(
    config: RunConfig, train: Manifest, taking: Repeats, workers: Sequence[int], nodes: Sequence[NodeResources] | None
) -> tuple[Reading, ...]:
    if config.data.cache is None or not nodes:
        return plan_reading(train, taking, workers)
    scale = config.scale
    per_node = max(1, *(workers_on(node, scale.cpus_per_worker, scale.gpus_per_worker) for node in nodes))
    return plan_reading(train, taking, workers, per_node, config.data.cache.size_bytes)


def workers_on(node: NodeResources, cpus: int, gpus: int) -> int:
    """Workers with so many CPU cores and GPUs each that one node can hold at once."""
    by_cpu = int(node.cpus // cpus)
    return min(by_cpu, int(node.gpus // gpus)) if gpus else by_cpu


def _decode_processes(config: RunConfig) -> int:
    if config.data.decode_processes != "auto":
        return max(config.data.decode_processes, 1)
    return max(config.scale.cpus_per_worker - 1, 1)
