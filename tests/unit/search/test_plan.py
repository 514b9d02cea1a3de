import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.tune import TuneConfig
from scenerec.data.manifest import Manifest, Shard
from scenerec.errors import PlanError
from scenerec.search.levels import trial_levels
from scenerec.search.plan import SearchPlan, describe_scheduler, trials_at_once
from scenerec.training.plan import NodeResources, resolve
from tests.tiny_search import search_document


def search(workers: int = 1, cpus: int = 1, gpus: int = 0, **fields: object) -> TuneConfig:
    document = search_document(**fields)
    document["base"]["scale"] = {"workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
    return TuneConfig.model_validate(document)


NODES = st.lists(st.builds(NodeResources, cpus=st.integers(0, 16), gpus=st.integers(0, 4)), min_size=1, max_size=5)


@given(NODES, st.integers(1, 6), st.integers(1, 4), st.integers(0, 1), st.one_of(st.just("auto"), st.integers(1, 40)))
def test_all_trials_that_run_at_once_have_their_workers(
    nodes: list[NodeResources], workers: int, cpus: int, gpus: int, wanted: int | str
) -> None:
    """No trial waits for workers that another holds while its own are held for it: there is room for all at once."""
    config = search(workers, cpus, gpus, trials=12, concurrent_trials=wanted)
    slots = sum(min(node.cpus // cpus, node.gpus // gpus if gpus else 99) for node in nodes)
    if slots < workers and wanted == "auto":
        with pytest.raises(PlanError, match=f"room for {slots:g}"):
            trials_at_once(config, nodes)
        return
    if slots < workers:  # the cluster has still to grow
        assert trials_at_once(config, nodes) == min(int(wanted), 12)
        return
    at_once = trials_at_once(config, nodes)
    assert 1 <= at_once <= 12
    assert at_once * workers <= slots
    if wanted == "auto":
        assert at_once == 12 or (at_once + 1) * workers > slots


def test_a_number_that_is_named_is_kept_where_the_cluster_is_not_known() -> None:
    assert trials_at_once(search(concurrent_trials=7), ()) == 7


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scheduler": "asha"}, "asynchronous successive halving: after epoch 1, 3 one in 3 goes on"),
        (
            {"scheduler": {"kind": "asha", "grace_epochs": 2, "reduction_factor": 2}},
            "epoch 2, 4, 8 one in 2 goes on",
        ),
        ({"scheduler": {"kind": "asha", "finalists": 2}}, "after epoch 1, 3 one in 3 goes on, 2 at least"),
        ({"scheduler": "none"}, "none: every trial runs all its epochs"),
        ({"scheduler": "median"}, "below the median"),
        ({"budget": {"by": "data", "levels": [0.25, 1]}}, "levels of the training shards: 25%, 100%"),
    ],
)
def test_the_plan_says_what_stops_trials(fields: dict[str, object], words: str) -> None:
    assert words in describe_scheduler(search(**fields))


def test_the_plan_says_how_trials_estimate_batchnorms_statistics() -> None:
    config = search()
    sets = [
        Manifest(
            classes=("sea", "wood"),
            shards=(Shard(key="0.tar", size_bytes=1, sha256=digit * 64, samples=64, class_counts={0: 32, 1: 32}),),
        )
        for digit in "ab"
    ]
    base = resolve(trial_levels(config, 0, {})[-1].config, *sets)
    rows = dict(SearchPlan(config, base, concurrent_trials=2, room=4, ended_trials=0).rows())
    assert rows["BatchNorm"] == str(base.precise_batchnorm)
    assert list(rows) == [
        "search",
        "space",
        "trials",
        "stopping",
        "at once",
        "data",
        "batch",
        "BatchNorm",
        "budget",
        "results",
    ]
