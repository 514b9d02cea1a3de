"""How many workers an elastic training has, by the room that Ray finds for it."""

import pytest
from ray.train import ScalingConfig

from jobs.ray_private import ElasticWorkers


@pytest.mark.parametrize(
    ("rooms", "workers"), [([1], 0), ([1, 1], 2), ([2, 1], 2), ([2, 2], 4), ([2, 2, 3], 6), ([16], 6)]
)
def test_only_numbers_that_divide_the_batch_are_started(rooms: list[int], workers: int) -> None:
    policy = ElasticWorkers(ScalingConfig(num_workers=(2, 6), resources_per_worker={"CPU": 2}), (2, 4, 6))
    reserved = {f"node {number}": {"CPU": 2.0 * room} for number, room in enumerate(rooms)}
    assert policy._count_possible_workers(reserved) == workers
