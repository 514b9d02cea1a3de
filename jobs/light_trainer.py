"""Ray Train's trainer without what a run of ours does not use: what it starts and imports delays a job's first step."""

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.result import Result
from typing_extensions import override

from jobs.orphans import remove_own_placement_groups
from jobs.preemption import HeedPreemption
from jobs.ray_private import (
    DatasetsCallback,
    ElasticWorkers,
    FailedStarts,
    PlacementGroupCleanerCallback,
    RoomSought,
    StartsUndone,
    cancel_reservation,
    train_from_here,
)
from jobs.restarts import end_after_failed_starts

# Each of them is a process more, which imports Ray Train for more than a second: a manager of Ray Data's datasets, and
# there are none; a cleaner of places whose controller has died, and they end with the job (in a search, `jobs.orphans`
# gives them back).
_UNUSED = (DatasetsCallback, PlacementGroupCleanerCallback)


def run_on_each(worker_group: Any, function: Callable[..., None], *arguments: object) -> None:
    """Calls a function in every worker with these arguments and the worker's rank, and waits for all."""
    ray.get([worker_group.execute_single_async(rank, function, *arguments, rank) for rank in range(len(worker_group))])


class LightTrainer(DataParallelTrainer):
    """The base of both frameworks' trainers. Its driver, in whose process the controller runs, imports no framework.

    Args:
        tell_wait: is called where the controller looks for room for the workers again.
        worker_counts: numbers of workers that an elastic training may have.
    """

    def __init__(self, tell_wait: Callable[[], None], worker_counts: Sequence[int], **settings: Any) -> None:
        self._tell_wait, self._worker_counts = tell_wait, worker_counts
        super().__init__(**settings)

    @override
    def fit(self) -> Result:
        """Trains, as Ray's `fit` does; a job that is told to end gives back first what it has reserved."""
        try:
            return super().fit()
        except (SystemExit, KeyboardInterrupt):  # SIGTERM's and Ctrl-C's, which end the controller wherever it is
            cancel_reservation(self.train_run_context.run_id)
            raise

    @override
    def _initialize_and_run_controller(self, **controller_init_kwargs: Any) -> Result:
        if self.scaling_config.elasticity_enabled:
            controller_init_kwargs["scaling_policy"] = ElasticWorkers(self.scaling_config, self._worker_counts)
        return train_from_here(**controller_init_kwargs)

    @override
    def _create_default_callbacks(self) -> list[Any]:
        used = [callback for callback in super()._create_default_callbacks() if not isinstance(callback, _UNUSED)]
        own = (
            StartsUndone(remove_own_placement_groups),
            FailedStarts(end_after_failed_starts),
            RoomSought(self._tell_wait),
        )
        return [*used, *own, HeedPreemption()]
