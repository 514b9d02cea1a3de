"""Node-hours: what a job took, what its restarts wasted, and what that costs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.job import CostConfig
from scenerec.config.scale import ScaleConfig
from scenerec.config.train import TrainConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.training.node_time import NodeTime, Start, node_time, nodes_taken, plan_cost
from scenerec.training.plan import NodeResources
from scenerec.training.preflight import check_job
from scenerec.training.run_folder import RunFolder

H = 3600.0


def a_quarter_each(workers: int) -> float:
    return workers / 4


def test_an_undisturbed_job_wastes_nothing() -> None:
    found = node_time(0, [Start(time_s=60, workers=8)], 2 * H, a_quarter_each)
    assert found == NodeTime(node_hours=4.0, node_hours_wasted=0.0, restarts=0)


def test_a_restart_wastes_the_time_since_the_checkpoint_that_it_goes_on_from() -> None:
    starts = [Start(time_s=0, workers=4), Start(time_s=2 * H, workers=2, global_step=7, saved_s=1.5 * H)]
    found = node_time(0, starts, 3 * H, a_quarter_each)
    assert found == NodeTime(node_hours=2 * 1.0 + 1 * 0.5, node_hours_wasted=0.5, restarts=1)
    # A checkpoint of an earlier job, and none: all since the workers began is lost, and not the time before.
    for saved_s in (-5 * H, 0):
        again = [Start(time_s=1 * H, workers=4), Start(time_s=2 * H, workers=4, saved_s=saved_s)]
        assert node_time(0, again, 3 * H, a_quarter_each).node_hours_wasted == 1.0


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(1, 9), st.floats(-1e5, 2e5)), max_size=6), st.floats(0, 1e5))
def test_what_is_wasted_is_a_part_of_what_is_used(starts: list[tuple[float, int, float]], ended_s: float) -> None:
    begun = [Start(time_s=time_s, workers=workers, saved_s=saved_s) for time_s, workers, saved_s in starts]
    found = node_time(0, begun, ended_s, a_quarter_each)
    assert 0 <= found.node_hours_wasted <= found.node_hours + 1e-9


@pytest.mark.parametrize(
    ("workers", "nodes", "taken"),
    [
        (8, [NodeResources(96, 8)], 1.0),
        (4, [NodeResources(96, 8)], 0.5),
        (12, [NodeResources(96, 8), NodeResources(96, 8)], 1.5),
        (2, [NodeResources(16, 8)], 1.0),  # whose CPUs are all taken
        (16, [NodeResources(96, 8)], 2.0),  # more than there is: as many more nodes
        (1, [NodeResources(2, 0)], 0.0),
    ],
)
def test_a_job_takes_the_larger_share_of_a_nodes_cpus_and_gpus(
    workers: int, nodes: list[NodeResources], taken: float
) -> None:
    assert nodes_taken(ScaleConfig(gpus_per_worker=1, cpus_per_worker=8), workers, nodes) == taken


def test_the_result_has_the_price_where_it_is_known() -> None:
    taken = NodeTime(2.5, 0.25, 1)
    assert taken.as_dict(None) == {"node_hours": 2.5, "node_hours_wasted": 0.25, "restarts": 1}
    assert taken.as_dict(CostConfig(node_hour=32))["cost"] == 80.0


def test_a_plan_says_what_is_known_of_the_cost(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(cost={"node_hour": 30, "currency": "EUR"})
    nodes = [NodeResources(2)]
    assert check_job(make_config()).cost is None
    assert str(check_job(config).cost) == "30.00 EUR a node-hour"
    found = check_job(config, nodes)
    assert dict(found.rows())["cost"] == ("15.00 EUR an hour on 0.5 node(s); how many hours, the first epoch will tell")
    left = found.plan.total_steps * found.plan.global_batch_size
    newest = EpochMetrics(epoch=1, validation={}, images_per_s=left / H, workers=1)
    cost = plan_cost(config, found.plan, nodes, 0, newest)
    assert cost is not None and cost.amount == pytest.approx(15)
    assert str(cost) == "about 15.00 EUR: 1 hours at the speed of its last epoch, 15.00 EUR an hour on 0.5 node(s)"
    half = plan_cost(config, found.plan, nodes, found.plan.total_steps // 2, newest)
    assert half is not None and half.amount == pytest.approx(7.5)


def test_a_runs_folder_keeps_when_its_workers_began(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    assert folder.read_starts() == []
    starts = [Start(time_s=1.5, workers=2), Start(time_s=9, workers=1, global_step=4, saved_s=7)]
    for start in starts:
        folder.add_start(start)
    assert folder.read_starts() == starts
