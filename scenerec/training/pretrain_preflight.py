"""Everything about a pretraining that can be found wrong before a cluster is asked for anything."""

from collections.abc import Sequence
from dataclasses import replace

from scenerec.config.pretrain import LabelledSetsConfig, MethodConfig, PretrainConfig
from scenerec.data.mixed_set import open_training_set
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import PlanError
from scenerec.names import clean, same_names
from scenerec.storage.writable import check_writable
from scenerec.training.initial import describe_weights, prepare_weights, weights_origin
from scenerec.training.node_time import plan_cost
from scenerec.training.plan import NodeResources, Plan, resolve
from scenerec.training.preflight import Preflight, check_shards, resume_point, trained_part
from scenerec.training.preprocessing import run_preprocessing
from scenerec.training.run_folder import RunFolder, resumed_lanes
from scenerec.training.schedules import fitting_momentum, share_of_first_weights

_NO_CLASSES = 0
_MUCH_OF_FIRST_WEIGHTS = 0.05


def check_pretraining(
    config: PretrainConfig, nodes: Sequence[NodeResources] | None = None, restart: bool = False
) -> Preflight:
    """Checks data, output and, where `nodes` are given, the cluster; with `restart` earlier results do not count.

    Raises PlanError, DataError, StorageError, CheckpointError or ModelError, in one line.
    """
    here = config.data.model_copy(update={"cache": None})  # which is the nodes', not that of who submits
    train, folder = open_training_set(here), RunFolder(config.run_url)
    lanes = None if restart else resumed_lanes(folder, config.data.lanes)
    plan = _resolve(config, train, nodes, lanes)
    judged = _check_probe(config.probe) if config.probe else ()
    for data in (*(part for part, _ in train.parts), *judged):
        check_shards(data)
    check_writable(folder.url)
    plan = replace(plan, weights=prepare_weights(config, _NO_CLASSES), origin=weights_origin(config))
    plan = replace(plan, preprocessing=run_preprocessing(config, restart=restart))
    trained = trained_part(config, classes=1)
    resumes_at = None if restart else resume_point(folder, config, plan, train.manifest)
    history = folder.read_history() if config.cost and resumes_at is not None else []
    cost = plan_cost(config, plan, nodes, resumes_at, history[-1] if history else None)
    return Preflight(plan, resumes_at, trained, cost)


def plan_pretraining(config: PretrainConfig) -> Plan:
    """The plan alone, from the manifest and the run's checkpoints, in a job. Raises as `check_pretraining`."""
    train = open_training_set(config.data, config.data.patience)
    lanes = resumed_lanes(RunFolder(config.run_url, config.data.patience), config.data.lanes)
    plan, origin = _resolve(config, train, None, lanes), weights_origin(config, config.data.patience)
    preprocessing = run_preprocessing(config, config.data.patience)
    return replace(plan, weights=describe_weights(config, _NO_CLASSES), origin=origin, preprocessing=preprocessing)


def _resolve(
    config: PretrainConfig, train: PackedSet, nodes: Sequence[NodeResources] | None, lanes: int | None
) -> Plan:
    samples = train.manifest.samples
    if samples == 1:
        raise PlanError(
            f"data.train: {config.data.train_names} has one image, and no other to tell it from: add images"
        )
    plan = resolve(config, train.manifest, train.manifest, nodes, lanes)
    queue, batch = config.pretrain.queue, config.optimize.global_batch_size
    if queue is not None and queue > samples:
        raise PlanError(
            f"pretrain.queue: {queue} keys are more than the {samples} images of an epoch, so that an image would be "
            f"told from itself: take {samples // batch * batch} or less, a multiple of {batch}"
        )
    plan = replace(plan, momentum_encoder=_momentum_remark(config.pretrain, plan.total_steps))
    if plan.precise_batchnorm and config.pretrain.has_momentum_encoder:
        plan = replace(plan, precise_batchnorm=replace(plan.precise_batchnorm, passes=2))
    return plan


def _momentum_remark(method: MethodConfig, steps: int) -> str:
    """What is to be said of the momentum: in a short run the papers' keeps the keys as random as they began."""
    share, fitting = share_of_first_weights(method, steps), fitting_momentum(method, steps)
    if method.momentum is None or share < _MUCH_OF_FIRST_WEIGHTS:
        return ""
    remedy = f"set pretrain.momentum to {fitting:g}, or " if fitting < method.momentum else ""
    what = f"the momentum encoder still has {share:.0%} of its first weights after {steps} steps"
    return f"at {method.momentum:g} {what}: {remedy}train longer"


def _check_probe(probe: LabelledSetsConfig) -> tuple[PackedSet, PackedSet]:
    """The labelled sets. Raises PlanError where one does not fit the other."""
    train, val = open_set(probe.train), open_set(probe.val)
    for field, data in (("train", train), ("val", val)):
        if data.manifest.is_multilabel:
            raise PlanError(f"probe.{field}: {data.url} has several labels an image, and a probe asks for one class")
    ours, theirs = train.manifest.classes, val.manifest.classes
    if not same_names(ours, theirs):
        odd = sorted(set(map(clean, ours)) ^ set(map(clean, theirs)))
        what = f"{odd[0]!r} is in one of them only" if odd else "the order differs"
        raise PlanError(
            f"probe.val: its classes are not those of probe.train ({what}): pack both from the same class list"
        )
    if {shard.sha256 for shard in train.manifest.shards} & {shard.sha256 for shard in val.manifest.shards}:
        raise PlanError(f"probe.val: {probe.val} has images of probe.train, which would be their own neighbours")
    return train, val
