"""What a training exports for Prometheus while it runs; docs/monitoring.md has the table."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psutil

from cluster.gauges import LastingGauges
from scenerec.config.run import RunConfig
from scenerec.job_log import EpochSummary, Event, Progress
from scenerec.storage.patience import is_store_away
from scenerec.world import World

RUNNING = "scenerec_train_running"
RESTARTS = "scenerec_train_restarts"
WORKERS = "scenerec_train_workers"
RESIDENT = "scenerec_train_resident_bytes"
STORE_AWAY = "scenerec_train_store_away"
VALIDATION = "scenerec_train_validation"
FETCHED = "scenerec_train_fetched_bytes_per_second"

RUN_GAUGES = {
    RUNNING: "1 while the job trains, also while its workers are started.",
    RESTARTS: "Restarts of all workers, in this job.",
    WORKERS: "Workers that train.",
    RESIDENT: "Memory of a worker's process: what it has in RAM.",
    STORE_AWAY: "1 while a worker waits for an object store that does not answer.",
    "scenerec_train_epoch": "Epochs done, with the share of the one under way.",
    "scenerec_train_step": "Optimizer steps done, of the whole run.",
    "scenerec_train_images_per_second": "Training images per second over all workers.",
    "scenerec_train_loss": "Mean training loss since the last progress line.",
    "scenerec_train_learning_rate": "Learning rate of the newest step.",
    "scenerec_train_data_wait_ratio": "Share of the time in which rank 0 waits for its next batch.",
    "scenerec_train_remaining_seconds": "Seconds to the end of the run, as far as is known.",
    "scenerec_train_checkpoint_seconds": "Seconds that writing the newest checkpoint took, in the background.",
    VALIDATION: "A metric of the newest finished epoch over the validation set.",
    FETCHED: "Bytes of shards that all workers fetched per second of training, in the newest finished epoch.",
}
"""Descriptions of the gauges of a training, by name."""


def run_labels(config: RunConfig) -> dict[str, str]:
    """The labels of all gauges of a run."""
    return {"run": config.name, "framework": config.framework}


@contextmanager
def running(config: RunConfig) -> Iterator[None]:
    """Exports, from the job's driver, that the run is under way: also where it has no workers just now."""
    with LastingGauges(RUN_GAUGES, run_labels(config)) as gauges:
        gauges.set(RUNNING, 1.0)
        yield


class RunGauges(LastingGauges):
    """The gauges of one worker; rank 0's are those of the whole run as well, from what it says in the job's log."""

    def __init__(self, config: RunConfig, world: World) -> None:
        super().__init__(RUN_GAUGES, run_labels(config))
        self.set(RESIDENT, lambda: float(psutil.Process().memory_info().rss))
        self.set(STORE_AWAY, lambda: float(is_store_away()))
        if world.is_chief:
            self.set(WORKERS, float(world.size))

    def follow(self, say: Callable[[Event], None]) -> Callable[[Event], None]:
        """What tells the job's log by `say`, and takes note of what is told."""

        def tell(event: Event) -> None:
            say(event)
            self.observe(event)

        return tell

    def observe(self, event: Event) -> None:
        """Takes note of an event of rank 0."""
        match event:
            case Progress():
                for name, value in of_progress(event).items():
                    self.set(name, value)
            case EpochSummary():
                for key, value in event.validation.items():
                    self.set(VALIDATION, value, metric=key)
                if event.fetched_bytes_per_s is not None:
                    self.set(FETCHED, event.fetched_bytes_per_s)


def of_progress(progress: Progress) -> Mapping[str, float]:
    """The gauges that a line of progress tells, by name."""
    values = {
        "scenerec_train_epoch": progress.epoch - 1 + progress.step / progress.steps,
        "scenerec_train_step": (progress.epoch - 1) * progress.steps + progress.step,
        "scenerec_train_images_per_second": progress.images_per_s,
        "scenerec_train_loss": progress.loss,
        "scenerec_train_learning_rate": progress.lr,
        "scenerec_train_data_wait_ratio": progress.data_wait,
        "scenerec_train_remaining_seconds": progress.eta_s,
        "scenerec_train_checkpoint_seconds": progress.checkpoint_s,
    }
    return {name: float(value) for name, value in values.items() if value is not None}
