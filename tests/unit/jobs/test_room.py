"""What a training says while it waits for room."""

import pytest

from jobs.room import room_words
from scenerec.config.scale import ScaleConfig, WorkerRange
from scenerec.training.plan import NodeResources

ONE_CPU = NodeResources(cpus=1, gpus=0)
LOST = ["10.0.0.12", "10.0.0.13"]


@pytest.mark.parametrize(
    ("scale", "workers", "nodes", "free", "lost", "words"),
    [
        (ScaleConfig(workers=2), 2, [ONE_CPU] * 2, [ONE_CPU], [], "2 workers: 1 CPU each, 1 of 2 free"),
        (
            ScaleConfig(workers=2),
            2,
            [ONE_CPU] * 2,
            [ONE_CPU],
            LOST[:1],
            "2 workers: 1 CPU each, 1 of 2 free; 10.0.0.12 was lost: start Ray there again",
        ),
        (  # two replicas have a CPU each of the first node
            ScaleConfig(workers=2, cpus_per_worker=2),
            2,
            [NodeResources(cpus=3, gpus=0)] * 2,
            [ONE_CPU, NodeResources(cpus=3, gpus=0)],
            [],
            "2 workers: 2 CPU each, 4 of 6 free; with room for 1 on the nodes that have them",
        ),
        (
            ScaleConfig(workers=2),
            2,
            [ONE_CPU],
            [ONE_CPU],
            LOST,
            "2 workers: 1 CPU each, 1 of 1 free; 10.0.0.12, 10.0.0.13 were lost: start Ray there again",
        ),
        (
            ScaleConfig(workers=WorkerRange(min=1, max=3), cpus_per_worker=4, gpus_per_worker=1),
            1,
            [NodeResources(cpus=8, gpus=0)],
            [NodeResources(cpus=8, gpus=0)],
            LOST[:1],
            "1 worker: 4 CPU each, 8 of 8 free; 1 GPU each, 0 of 0 free; 10.0.0.12 was lost: start Ray there again",
        ),
        (  # whose batch two workers do not divide
            ScaleConfig(workers=WorkerRange(min=2, max=4)),
            3,
            [ONE_CPU] * 2,
            [ONE_CPU] * 2,
            LOST[:1],
            "3 workers: 1 CPU each, 2 of 2 free; 10.0.0.12 was lost: start Ray there again",
        ),
    ],
)
def test_a_cluster_that_is_too_small_says_what_it_has_lost(
    scale: ScaleConfig, workers: int, nodes: list[NodeResources], free: list[NodeResources], lost: list[str], words: str
) -> None:
    assert room_words(scale, workers, nodes, free, lost) == words
