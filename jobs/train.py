"""The training job: `python -m jobs.train config.yaml` on the cluster starts the workers, and ends with the result."""

import json
import os
import sys
import time
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, ClassVar

from cluster.job import out_of_memory
from cluster.ray_node import TRAIN_ENVIRONMENT
from jobs.full_disk import full_disk_named, full_disk_told
from jobs.log import say
from jobs.main import job_id, main
from jobs.tracking import shown_elsewhere
from scenerec.config.file import KINDS, load_config
from scenerec.config.run import RunConfig
from scenerec.config.scale import WorkerRange
from scenerec.config.train import TrainConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import NotFoundError, ScenerecError, StorageError, last_line
from scenerec.job_log import Event, Waiting
from scenerec.json_object import JsonObject
from scenerec.large_imports import large_imports
from scenerec.storage import IMPATIENT, Patience, open_storage, read_json
from scenerec.training.loop import train
from scenerec.training.make_learner import make_learner
from scenerec.training.node_time import node_time, nodes_taken
from scenerec.training.open_job import open_job
from scenerec.training.plan import Plan
from scenerec.training.run_folder import RunFolder
from scenerec.training.run_preflight import plan_run
from scenerec.world import World

_FAILURE_FILE = "error.json"

# Read by Ray when it is imported, here and in the processes that it starts.
_RAY_SETTINGS = {
    **TRAIN_ENVIRONMENT,
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process more; workers ask for themselves (jobs.preemption)
}


class Reporter:
    """What a run's workers tell the job's log. It travels to them; a search has one of its own."""

    exports: ClassVar[bool] = True
    """Whether the run has gauges for Prometheus."""

    def say(self, event: Event) -> None:
        """Tells the job's log; called on rank 0."""
        say(event)

    def report(self, config: RunConfig, world: World, metrics: EpochMetrics) -> None:
        """Is told of an epoch's end on all ranks; the run goes on when it returns."""


def run_file(file: str) -> JsonObject:
    """Trains by the config in `file` and returns the content of result.json. Raises ScenerecError."""
    return run(load_config(file))


def run(config: RunConfig) -> JsonObject:
    """Trains or pretrains on the workers of this cluster and returns the content of result.json.

    Raises ScenerecError, also for one that a worker met.
    """
    return run_plan(config, plan_run(config))


def run_plan(config: RunConfig, plan: Plan) -> JsonObject:
    """Trains by a plan, as `run` does, and adds to the result what it took of the cluster."""
    folder = RunFolder(config.run_url, config.data.patience)
    begun_s, earlier = time.time(), len(folder.read_starts())
    with shown_elsewhere(config):
        result = fit(config, plan, job_id(), Reporter())
        time_taken = node_time(begun_s, folder.read_starts()[earlier:], time.time(), partial(_nodes_of, config))
        result["usage"] = time_taken.as_dict(config.cost)
        result["report"] = _reported(config)
        folder.write_result(result)
        if isinstance(config, TrainConfig) and config.data.eval_crops > 1:
            result["ten_crops"] = _evaluated_by_crops(config)
            folder.write_result(result)
    return result


def _reported(config: RunConfig) -> str:
    from scenerec.training.run_report import write_report  # takes longer to import than the first step may wait

    return write_report(config.run_url, config.data.patience)


def _evaluated_by_crops(config: TrainConfig) -> JsonObject | None:
    from jobs.crops import evaluate_crops  # imports Ray

    return evaluate_crops(config)


def _nodes_of(config: RunConfig, workers: int) -> float:
    from jobs.nodes import nodes_alive  # imports Ray

    return nodes_taken(config.scale, workers, nodes_alive())


def fit(config: RunConfig, plan: Plan, attempt: str, reporter: Reporter) -> JsonObject:
    """Trains by a plan, as `run` does; `attempt` is unique among the attempts at this run.

    Raises ScenerecError, also for one that a worker met.
    """
    _fit(config, plan, attempt, reporter)
    folder = open_storage(config.run_url, config.data.patience)
    _raise_failure(config, attempt, config.data.patience)
    for info in list(folder.list("ray/")):
        folder.delete(info.key)
    return json.loads(folder.get("result.json"))


def _fit(config: RunConfig, plan: Plan, attempt: str, reporter: Reporter) -> None:
    os.environ.update({name: os.environ.get(name, value) for name, value in _RAY_SETTINGS.items()})
    with large_imports():
        from ray.train import FailureConfig, RunConfig, ScalingConfig

        from jobs.ray_storage import ray_storage  # imports Arrow
        from jobs.restarts import Restarts
        from jobs.run_gauges import run_labels, running

    scale = config.scale
    workers = (plan.workers[0], plan.workers[-1]) if isinstance(scale.workers, WorkerRange) else scale.workers
    labels = run_labels(config) if reporter.exports else None
    resources = {"CPU": scale.cpus_per_worker, "GPU": scale.gpus_per_worker}
    settings = {"config": config.model_dump(mode="json"), "plan": plan, "attempt": attempt, "reporter": reporter}
    tell_wait = partial(_tell_wait, config, plan.workers[0], reporter)
    trainer = _trainer(config.framework)(
        tell_wait=tell_wait,
        worker_counts=plan.workers,
        train_loop_per_worker=train_on_worker,
        train_loop_config=settings,
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=scale.gpus_per_worker > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=attempt,
            failure_config=FailureConfig(max_failures=scale.max_restarts),
            callbacks=[Restarts(reporter.say, scale.max_restarts, labels)],
            **ray_storage(f"{config.run_url}/ray", config.data.store_patience_s),
        ),
    )
    tell_wait()
    try:
        with running(config) if reporter.exports else nullcontext():
            trainer.fit()
    except Exception as error:  # Ray wraps what a worker raised in one of several errors of its own
        with suppress(StorageError):  # it is what the workers have met, and is said below
            _raise_failure(config, attempt, IMPATIENT)
        reason = last_line(str(error), type(error).__name__)
        if out_of_memory(str(error)):
            reason = (
                "their node ran out of memory: give them fewer images at once (optimize.global_batch_size, "
                "optimize.accumulate_steps), or start fewer (scale.workers)"
            )
        raise full_disk_told(str(error)) or failure_of_workers(reason) from None


def failure_of_workers(reason: str) -> ScenerecError:
    """The error that a job ends with whose workers failed for `reason`: Ray's words, in which ours may be quoted."""
    for kind in (StorageError, NotFoundError):
        _, is_of_store, told = reason.rpartition(f"{kind.__module__}.{kind.__name__}: ")
        if is_of_store:
            return kind(told)
    return ScenerecError(f"the workers failed: {reason}")


def _tell_wait(config: RunConfig, workers: int, reporter: Reporter) -> None:
    from jobs.room import room_sought  # imports Ray

    reporter.say(Waiting(f"{config.framework} on {room_sought(config.scale, workers)}"))


def _trainer(framework: str) -> Any:
    if framework == "torch":
        from jobs.torch_trainer import TorchTrainer

        return TorchTrainer
    from jobs.tf_trainer import TensorflowTrainer

    return TensorflowTrainer


def train_on_worker(settings: JsonObject) -> None:
    """One worker's part, in a process of its own: the library's loop, with Ray's ranks and reports."""
    import ray

    with full_disk_named(ray.util.get_node_ip_address()):
        _train_on_worker(settings)


def _train_on_worker(settings: JsonObject) -> None:
    import ray.train

    from jobs.preemption import is_announced, listen_again
    from jobs.run_gauges import RunGauges

    config = KINDS[settings["config"]["kind"]].model_validate(settings["config"])
    assert isinstance(config, RunConfig)
    plan, reporter = settings["plan"], settings["reporter"]
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size(), _device(config))
    patience = config.data.patience
    if not world.is_chief:
        patience = patience.quieter(f"worker {world.rank}")
    if _failure(config, settings["attempt"], patience) is not None:
        return  # an earlier attempt met what another will not mend; the driver says it
    try:
        job = open_job(config, plan, patience)
        if world.is_chief:
            reporter.say(Waiting("the network, its weights, and the first steps"))
        report = partial(reporter.report, config, world)
        learner = make_learner(job, world)
        listen_again()
        with RunGauges(config, world) if reporter.exports else nullcontext() as gauges:
            say = gauges.follow(reporter.say) if gauges else reporter.say
            train(job, world, learner, say, report, is_announced)
    except StorageError:
        raise  # the store may be back when Ray starts the workers again
    except ScenerecError as error:
        failure = {"attempt": settings["attempt"], "message": str(error), "exit_code": error.exit_code}
        open_storage(config.run_url, patience).put(_FAILURE_FILE, json.dumps(failure).encode())
        raise


def _device(config: RunConfig) -> str:
    if not config.scale.gpus_per_worker:
        return "cpu"
    if config.framework == "torch":
        from ray.train.torch import get_device

        return str(get_device())  # torch's workers see all GPUs of their node, for NCCL's sake
    return "cuda:0"


def _failure(config: RunConfig, attempt: str, patience: Patience) -> JsonObject | None:
    """What a worker of `attempt` left to be said; an earlier one's is not ours."""
    folder = open_storage(config.run_url, patience)
    failure = read_json(folder, _FAILURE_FILE, "attempt", "message", "exit_code")
    return failure if failure and failure["attempt"] == attempt else None


def _raise_failure(config: RunConfig, attempt: str, patience: Patience) -> None:
    if failure := _failure(config, attempt, patience):
        open_storage(config.run_url, patience).delete(_FAILURE_FILE)
        error = ScenerecError(failure["message"])
        error.exit_code = failure["exit_code"]
        raise error


if __name__ == "__main__":
    sys.exit(main("jobs.train"))
