"""Everything about a job that can be found wrong before a cluster is asked for anything."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import nan, prod

from scenerec.checkpoint import read_run_state
from scenerec.config.run import RunConfig
from scenerec.config.train import TrainConfig
from scenerec.data.manifest import Manifest
from scenerec.data.mixed_set import open_training_set
from scenerec.data.packed_set import PackedSet, check_images, open_set
from scenerec.errors import CheckpointError, DataError
from scenerec.models.freezing import TrainedPart, frozen_names
from scenerec.storage.writable import check_writable
from scenerec.training.class_weights import loss_weights
from scenerec.training.initial import describe_weights, prepare_weights, weights_origin
from scenerec.training.node_time import CostPlan, plan_cost
from scenerec.training.plan import NodeResources, Plan, check_taken, learned_classes, resolve
from scenerec.training.preprocessing import prepared, run_preprocessing
from scenerec.training.run_folder import RunFolder, check_identity, resumed_lanes, run_identity
from scenerec.training.task import task_of
from scenerec.training.teacher import TeacherPlan, plan_teacher

_DEEP_CHECK_BYTES = 64 << 20


@dataclass(frozen=True)
class Preflight:
    """A job that can start."""

    plan: Plan
    """What will be trained, on what, by how many workers."""
    resumes_at: int | None
    """Steps that its checkpoints have already done; None for a new run."""
    trained: TrainedPart | None = None
    """What of the network is trained; None where that is all of it."""
    cost: CostPlan | None = None
    """What it will cost; None where no price is given."""
    coordinates: str | None = None
    """How many images have coordinates, and how they are read, in words; None where the network reads none."""

    def rows(self) -> list[tuple[str, str]]:
        """Rows of (what, value), for people."""
        rows = self.plan.rows()
        if self.trained:
            rows.insert(2, ("trains", str(self.trained)))
        if self.coordinates:
            rows.insert(2, ("coordinates", self.coordinates))
        if self.cost:
            rows.append(("cost", str(self.cost)))
        if self.resumes_at is not None:
            rows.append(("resumes", f"after step {self.resumes_at} of {self.plan.total_steps}"))
        return rows

    def as_dict(self) -> dict[str, object]:
        """The plan as plain JSON values."""
        trained = asdict(self.trained) if self.trained else None
        cost = {**asdict(self.cost), "amount": self.cost.amount} if self.cost else None
        others = {"trained": trained, "cost": cost, "coordinates": self.coordinates}
        return {**self.plan.as_dict(), "resumes_at": self.resumes_at, **others}


def check_job(config: TrainConfig, nodes: Sequence[NodeResources] | None = None, restart: bool = False) -> Preflight:
    """Checks data, output and, where `nodes` are given, the cluster; with `restart` earlier results do not count.

    Raises PlanError, DataError, StorageError, CheckpointError or ModelError, in one line.
    """
    here = config.data.model_copy(update={"cache": None})  # which is the nodes', not that of who submits
    train, val = open_training_set(here), open_set(config.data.val)
    folder = RunFolder(config.run_url)
    coordinates = _plan_coordinates(config, train.manifest, val.manifest)
    lanes = None if restart else resumed_lanes(folder, config.data.lanes)
    plan = resolve(config, train.manifest, val.manifest, nodes, lanes)
    if restart or folder.latest_checkpoint() is None:  # one that has begun goes on as it began
        check_taken(config, [(data.manifest, weight) for data, weight in train.parts])
    plan = replace(plan, class_weights=loss_weights(config, train.parts))
    for data in (*(part for part, _ in train.parts), val):
        check_shards(data)
    check_writable(folder.url)
    plan = replace(plan, weights=prepare_weights(config, plan.classes), origin=weights_origin(config))
    plan = replace(plan, preprocessing=run_preprocessing(config, restart=restart))
    classes = learned_classes(config, train.manifest, val.manifest)
    plan = _with_teacher(plan, plan_teacher(config, classes, download=True))
    trained = trained_part(config, plan.classes)
    if trained and plan.precise_batchnorm and not trains_batchnorm(config, plan.classes):
        plan = replace(plan, precise_batchnorm=None)
    resumes_at = None if restart else resume_point(folder, config, plan, train.manifest)
    history = folder.read_history() if config.cost and resumes_at is not None else []
    cost = plan_cost(config, plan, nodes, resumes_at, history[-1] if history else None)
    return Preflight(plan, resumes_at, trained, cost, coordinates)


def plan_job(config: TrainConfig) -> Plan:
    """The plan alone, from the manifests and the run's checkpoints, in a job. Raises the errors of `check_job`."""
    data = config.data
    train, val = open_training_set(data, data.patience), open_set(data.val, patience=data.patience)
    lanes = resumed_lanes(RunFolder(config.run_url, data.patience), data.lanes)
    plan = resolve(config, train.manifest, val.manifest, resumed_lanes=lanes)
    plan = replace(
        plan,
        weights=describe_weights(config, plan.classes),
        origin=weights_origin(config, data.patience),
        preprocessing=run_preprocessing(config, data.patience),
        class_weights=loss_weights(config, train.parts),
    )
    return _with_teacher(plan, plan_teacher(config, learned_classes(config, train.manifest, val.manifest)))


def _with_teacher(plan: Plan, teacher: TeacherPlan | None) -> Plan:
    """The plan with whom it learns from, whose licence goes along."""
    if teacher is None or plan.origin is None:
        return plan
    return replace(plan, teacher=teacher, origin=plan.origin.taught_by(teacher.origin))


def _plan_coordinates(config: TrainConfig, train: Manifest, val: Manifest) -> str | None:
    """What the network reads of coordinates, in words. Raises DataError where a set has none at all."""
    geo = config.model.geo
    if geo is None:
        return None
    for field, url, manifest in (("train", config.data.train_names, train), ("val", config.data.val, val)):
        if not manifest.coordinates:
            raise DataError(
                f"data.{field}: no image of {url} has coordinates, which model.geo reads: pack the set with "
                "`scenerec data pack --coordinates FILE` or `--coordinates-from-exif`, or leave model.geo out"
            )
    known, of_val = (f"{each.coordinates:,} of {each.samples:,}" for each in (train, val))
    return f"known of {known} training images, {of_val} for validation; {geo.encoding}, fused by {geo.fusion}"


def check_shards(data: PackedSet) -> None:
    """All shards are there in the manifest's size; the first, up to 64 MiB, are read, checked, their images decoded."""
    sizes = {info.key: info.size_bytes for info in data.storage.list()}
    for shard in data.manifest.shards:
        if shard.key not in sizes:
            raise DataError(
                f"{data.storage.url}/{shard.key}: is missing, the manifest has it: pack or adopt the set again"
            )
        if sizes[shard.key] != shard.size_bytes:
            raise DataError(
                f"{data.storage.url}/{shard.key}: has {sizes[shard.key]} bytes, {shard.size_bytes} in the manifest "
                "(truncated, or of another pack): pack or adopt the set again"
            )
    read_bytes = 0
    for index, shard in enumerate(data.manifest.shards):
        read_bytes += shard.size_bytes
        if index and read_bytes > _DEEP_CHECK_BYTES:
            break
        check_images(data, index)


def trained_part(config: RunConfig, classes: int) -> TrainedPart | None:
    """What `model.freeze` leaves to train. Raises ModelError where it does not fit the architecture."""
    arch, freeze = config.model.arch, config.model.freeze
    if freeze == "none":
        return None
    from scenerec.models.torch_outline import parameter_shapes  # imports torch, which takes seconds

    sizes = {name: prod(shape) for name, shape in parameter_shapes(arch, classes, config.model.geo).items()}
    frozen = frozen_names(arch, freeze, list(sizes))
    what = "backbone" if freeze == "backbone" else ", ".join(freeze)
    return TrainedPart(sum(size for name, size in sizes.items() if name not in frozen), sum(sizes.values()), what)


def trains_batchnorm(config: RunConfig, classes: int) -> bool:
    """Whether `model.freeze` leaves a BatchNorm to train."""
    from scenerec.models.torch_outline import state_shapes  # imports torch, which takes seconds

    tensors = list(state_shapes(config.model.arch, classes, config.model.geo))
    frozen = frozen_names(config.model.arch, config.model.freeze, tensors)
    layers = [key.removesuffix("running_mean") for key in tensors if key.endswith(".running_mean")]
    return any(not frozen.issuperset({f"{layer}weight", f"{layer}bias"}) for layer in layers)


def resume_point(folder: RunFolder, config: RunConfig, plan: Plan, train: Manifest) -> int | None:
    """Steps that the run's checkpoints have done, None of a new run. Raises CheckpointError where it cannot go on."""
    if (result := folder.read_result()) is not None:
        done, best = result["last"]["epoch"], task_of(config).best
        if done >= config.optimize.epochs:
            value = result["best"].get(best.key, nan)
            raise CheckpointError(
                f"{folder.url}: this run is finished ({done} epochs, {best.name} {value:.4f}): give the "
                "new one another name, raise optimize.epochs to go on, or start over with `scenerec submit --restart`"
            )
    name = folder.latest_checkpoint()
    if name is None:
        return None
    state = read_run_state(folder.checkpoints, name)
    config = prepared(config, plan.preprocessing)
    wanted = run_identity(config, plan.lanes, plan.classes, train.fingerprint, plan.teacher)
    check_identity(folder.url, state.identity, wanted)
    return state.global_step
