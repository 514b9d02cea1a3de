"""The loop's metrics by step, with a learner of a single number: whatever kills a run, they are as if nothing had.

`tests/integration/test_loop.py` has the same with networks, in both frameworks.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenerec.checkpoint import LearnerState
from scenerec.config.train import TrainConfig
from scenerec.data.stream import Cursor
from scenerec.training.batchnorm import PreciseBatchNorm
from scenerec.training.learner import Learner, TrainingJob
from scenerec.training.loop import train
from scenerec.training.run_folder import RunFolder
from scenerec.training.task import ClassificationCounts, Counts
from scenerec.world import World
from tests.conftest import MakeConfig
from tests.local_run import learned_by_step, open_job

STEPS, EPOCHS = 6, 3
NAMES = count()


class KilledError(Exception):
    pass


class NamedBatch(NamedTuple):
    names: Sequence[str]
    number: int


class NumberLearner(Learner[NamedBatch]):
    """Learns a number, whose losses are float32, as those of networks; is killed before step `killed_at` of the run."""

    def __init__(self, killed_at: int) -> None:
        self.killed_at, self.number, self.loss = killed_at, np.float32(1.0), 0.0

    def training_batches(self, start: Cursor) -> Generator[NamedBatch, None, None]:
        for step in range(start.epoch * STEPS + start.step, EPOCHS * STEPS):
            if step == self.killed_at:
                raise KilledError
            yield NamedBatch((str(step),), step)

    def validation_batches(self) -> Iterable[NamedBatch]:
        return []

    def train_step(self, batch: NamedBatch, learning_rate: float) -> None:
        loss = np.float32(np.sin(batch.number + 1) ** 2) * self.number
        self.number = np.float32(self.number * np.float32(1 - learning_rate))
        self.loss += float(loss)

    def take_loss(self) -> float:
        loss, self.loss = self.loss, 0.0
        return loss

    def estimate_statistics(self, sample: PreciseBatchNorm) -> None: ...

    def evaluate(self, batches: Iterable[NamedBatch]) -> Counts:
        return ClassificationCounts(4, float(self.number), 2, 3)

    def state(self) -> LearnerState:
        return LearnerState({"number": np.array([self.number])}, {})

    def load_state(self, state: LearnerState) -> None:
        self.number = np.float32(state.model["number"][0])

    def agree(self, value: int) -> int:
        return value

    def sum_over_ranks(self, values: np.ndarray) -> np.ndarray:
        return values


def attempt(job: TrainingJob, killed_at: int = -1) -> None:
    try:
        train(job, World(), NumberLearner(killed_at), lambda event: None, lambda metrics: None)
    except KilledError:
        assert killed_at >= 0


kills = st.lists(st.tuples(st.integers(0, EPOCHS * STEPS - 1), st.booleans()), max_size=4)


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=kills, saved_every=st.integers(1, 7), logged_every=st.one_of(st.just("auto"), st.integers(1, 7)))
def test_a_killed_run_has_the_metrics_by_step_of_one_that_was_not(
    make_config: MakeConfig, kills: list[tuple[int, bool]], saved_every: int, logged_every: int | str
) -> None:
    """Some are killed between steps.jsonl and the checkpoint that it was written for."""

    def run(name: str) -> tuple[TrainConfig, TrainingJob]:
        config = make_config(
            name=f"{name}-{next(NAMES)}",
            optimize={"epochs": EPOCHS},
            checkpoint={"every_steps": saved_every},
            track={"every_steps": logged_every},
        )
        job = open_job(config)
        return config, replace(job, plan=replace(job.plan, precise_batchnorm=None))

    (whole, job), (killed, killed_job) = run("whole"), run("killed")
    attempt(job)
    checkpoints = RunFolder(killed.run_url).checkpoints
    for step, loses_checkpoint in sorted(kills):
        attempt(killed_job, step)
        newest = RunFolder(killed.run_url).latest_checkpoint()
        if newest and loses_checkpoint:
            checkpoints.delete(f"{newest}/state.json")
    attempt(killed_job)
    lines = learned_by_step(whole.run_url)
    assert learned_by_step(killed.run_url) == lines
    every = 1 if logged_every == "auto" else int(logged_every)
    expected = [step for step in range(1, STEPS + 1) if step % every == 0 or step == STEPS]
    assert [step for _, step, *_ in lines] == expected * EPOCHS
    histories = [RunFolder(config.run_url).read_history() for config in (whole, killed)]
    assert [epoch.train_loss for epoch in histories[0]] == [epoch.train_loss for epoch in histories[1]]
