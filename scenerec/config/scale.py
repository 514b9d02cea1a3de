"""How much of the cluster a job takes."""

from typing import Annotated

from pydantic import Field, model_validator

from scenerec.config.block import Block

MOST_WORKERS = 100_000
"""More would only be a slip, and the numbers between are tried one by one."""


class WorkerRange(Block):
    """An elastic number of workers."""

    min: int = Field(ge=1)
    """Fewest workers to run with."""
    max: int = Field(ge=1, le=MOST_WORKERS)
    """Most workers to run with."""

    @model_validator(mode="after")
    def _ordered(self) -> "WorkerRange":
        if self.min > self.max:
            raise ValueError("min: must not exceed max")
        return self


class ScaleConfig(Block):
    """How much of the cluster the job takes."""

    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] | WorkerRange = 1
    """Number of workers, or {min: 8, max: 32}: the job then shrinks and grows with the cluster."""
    gpus_per_worker: int = Field(0, ge=0, le=1)
    """GPUs of each worker, 0 or 1; 0 trains on the CPU. More GPUs: more workers."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPU cores of each worker."""
    max_restarts: int = Field(3, ge=0)
    """How often the workers are started again after a failure before the job is given up."""

    @property
    def max_workers(self) -> int:
        """The largest number of workers."""
        return self.workers.max if isinstance(self.workers, WorkerRange) else self.workers

    @property
    def min_workers(self) -> int:
        """The smallest number of workers."""
        return self.workers.min if isinstance(self.workers, WorkerRange) else self.workers
