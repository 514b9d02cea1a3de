from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.plan import KINDS, STEPS_A_STRIKE, FaultKind, Strike, is_overcome, make_plan, may_strike

seeds = st.integers(0, 2**32)
minutes = st.floats(1, 120)


@given(seeds, minutes, st.integers(1, 8))
def test_the_same_seed_gives_the_same_plan(seed: int, minutes: float, workers: int) -> None:
    assert make_plan(seed, minutes, workers) == make_plan(seed, minutes, workers)


def test_another_seed_gives_another_plan() -> None:
    assert len({make_plan(seed, 10, 2).strikes for seed in range(20)}) == 20


@given(seeds, minutes, st.integers(1, 8))
def test_strikes_come_one_after_the_other_within_the_run(seed: int, minutes: float, workers: int) -> None:
    plan = make_plan(seed, minutes, workers)
    steps = [strike.at_step for strike in plan.strikes]
    assert steps == sorted(set(steps))
    assert steps[0] > STEPS_A_STRIKE // 5
    assert steps[-1] < plan.steps - STEPS_A_STRIKE // 5
    assert [strike.number for strike in plan.strikes] == list(range(1, len(steps) + 1))
    assert all(_is_possible(strike, workers) for strike in plan.strikes)


@given(seeds)
def test_kinds_come_as_often_as_they_weigh_and_first_once_each(seed: int) -> None:
    weights = Counter({kind.name: kind.weight for kind in KINDS})
    dealt = [strike.kind.name for strike in make_plan(seed, 60, 2).strikes]
    assert sorted(dealt[: len(KINDS)]) == sorted(weights)
    assert Counter(dealt[: weights.total()]) == weights


@given(seeds, st.sets(st.sampled_from(KINDS), min_size=1))
def test_only_chosen_kinds_come(seed: int, kinds: set[FaultKind]) -> None:
    chosen = [kind for kind in KINDS if kind in kinds]
    dealt = [strike.kind for strike in make_plan(seed, 20, 2, chosen).strikes]
    assert set(dealt) == kinds
    assert set(dealt[: len(chosen)]) == kinds


@given(seeds, st.integers(2, 6), st.data())
def test_never_too_few_nodes_are_left(seed: int, nodes: int, data: st.DataObject) -> None:
    """Whenever nodes come back: a strike that takes one waits until there are enough."""
    fewest, away = data.draw(st.integers(1, nodes - 1)), 0
    for strike in make_plan(seed, 60, 2).strikes:
        away -= data.draw(st.integers(0, away))
        while not may_strike(strike.kind, away, nodes, fewest):
            away -= 1
        away += strike.kind.takes_node
        assert fewest <= nodes - away <= nodes


def test_a_strike_is_overcome_when_the_run_goes_on_after_it_has_told() -> None:
    cut_s = 100.0
    assert not is_overcome(now_s=105.0, befell_s=cut_s, stepped_s=104.9)  # lines of steps before it still come
    assert not is_overcome(now_s=115.0, befell_s=cut_s, stepped_s=105.0)
    assert is_overcome(now_s=170.0, befell_s=cut_s, stepped_s=169.0)
    assert is_overcome(now_s=115.0, befell_s=cut_s, stepped_s=114.0)  # it held nothing up


def _is_possible(strike: Strike, workers: int) -> bool:
    shortest, longest = strike.kind.lasts_s
    return 0 <= strike.rank < workers and shortest <= strike.lasts_s <= longest
