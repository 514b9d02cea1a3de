"""Successive halving: the published examples, and what must hold for any values in any order."""

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.search.halving import Halving, asynchronous, hyperband

LAST = 15


def climb(halving: Halving, curves: list[list[float]], at_once: int = 1, seed: int = 0) -> list[int]:
    """Epochs that each trial ran, where `at_once` places are given as jobs.halving gives them; times are epochs."""
    rng, epochs = random.Random(seed), [0] * len(curves)
    running: list[int] = []
    paused: set[int] = set()
    to_come = list(range(len(curves)))
    while True:
        if not to_come:
            halving.close()
        for trial in list(halving.lost()):
            if trial in paused:
                paused.remove(trial)
                halving.end(trial)
        while len(running) < at_once:
            if (promoted := halving.next()) is not None:
                halving.promote(promoted)
                paused.remove(promoted)
                running.append(promoted)
            elif to_come:
                running.append(to_come.pop(0))
                halving.begin(running[-1])
            else:
                break
        if not running:
            if not to_come and halving.next() is None and not set(halving.lost()) & paused:
                break
            continue
        trial = rng.choice(running)
        epochs[trial] += 1
        verdict = halving.reach(trial, epochs[trial], max(curves[trial][: epochs[trial]]))
        if epochs[trial] == LAST or verdict != "go on":
            running.remove(trial)
            paused |= {trial} if epochs[trial] < LAST and verdict == "wait" else set()
        if epochs[trial] == LAST or verdict == "stop":
            halving.end(trial)
    assert not paused
    return epochs


def constant(values: list[float]) -> list[list[float]]:
    return [[value] * LAST for value in values]


def test_the_best_third_goes_on_whatever_order_they_come_in() -> None:
    """27 trials at rungs 1, 3, 9: a trial that comes early is not stopped for it."""
    values = [float(value) for value in range(27)]
    best_first = climb(asynchronous((1, 3, 9), 3, 27), constant(values[::-1]))
    assert best_first == [LAST, *[9] * 2, *[3] * 6, *[1] * 18]
    best_last = climb(asynchronous((1, 3, 9), 3, 27), constant(values))
    assert best_last[-1] == LAST
    assert sum(best_last) > sum(best_first)  # each new one is the best yet, and goes on too


def test_hyperband_has_the_published_brackets() -> None:
    """Table 1 of Li et al. 2018 (R = 81, eta = 3): 81, 34, 15, 8, 5 trials, judged first at 1, 3, 9, 27 and never."""
    halving = hyperband((1, 3, 9, 27), 3, 143)
    assert [(bracket.coming, bracket.rungs) for bracket in halving.brackets] == [
        (81, (1, 3, 9, 27)),
        (34, (3, 9, 27)),
        (15, (9, 27)),
        (8, (27,)),
        (5, ()),
    ]


def test_hyperband_waits_for_all_of_a_bracket() -> None:
    halving = hyperband((2, 6), 3, 9)
    for trial in range(8):
        halving.begin(trial)
        assert halving.reach(trial, 2, trial) in ("wait", "stop")
        assert halving.next() is None
    halving.begin(8)
    assert halving.reach(8, 2, 8) == "go on"  # it is the last, and the best
    assert (halving.next(), sorted(halving.lost())) == (7, [0, 1, 2, 3, 4, 5])


def test_a_trial_waits_until_a_third_is_below_it() -> None:
    halving = asynchronous((2, 6), 3, 12)
    verdicts = []
    for trial, value in enumerate([0.5, 0.7, 0.1]):
        halving.begin(trial)
        verdicts.append(halving.reach(trial, 2, value))
    assert verdicts == ["wait", "wait", "wait"]
    assert halving.next() == 1
    halving.promote(1)
    assert halving.next() is None and not list(halving.lost())


def test_who_has_no_chance_left_is_stopped() -> None:
    halving = asynchronous((1,), 2, 4)
    for trial, value in enumerate([0.9, 0.8, 0.7]):
        halving.begin(trial)
        halving.reach(trial, 1, value)
    assert list(halving.lost()) == [2]  # of four two go on
    halving.begin(3)
    assert halving.reach(3, 1, None) == "stop"


@pytest.mark.parametrize("make", [asynchronous, hyperband])
def test_where_too_few_come_the_best_one_ends(make: object) -> None:
    assert callable(make)
    assert climb(make((2, 6), 3, 2), constant([0.1, 0.2])) == [2, LAST]
    assert climb(make((2, 6), 3, 1), constant([0.1])) == [LAST]


def test_an_earlier_session_counts_as_if_it_had_just_run() -> None:
    values = [0.3, 0.9, 0.5, 0.8, 0.2, 0.7, 0.1]
    fresh, resumed = asynchronous((2, 6), 3, 12), asynchronous((2, 6), 3, 12)
    epochs = climb(fresh, constant(values))
    for trial, value in enumerate(values):
        resumed.recall(trial, [(epoch, value) for epoch in range(1, epochs[trial] + 1)])
    (again,), (before,) = resumed.brackets, fresh.brackets
    assert [sorted(rung) for rung in again.values] == [sorted(rung) for rung in before.values]
    assert again.coming == 12 - len(values) and not list(resumed.lost()) and resumed.next() is None


def test_levels_that_are_not_on_record_were_passed() -> None:
    halving = asynchronous((1, 3), 3, 12)
    halving.recall(0, [(1, inf), (3, 0.5)])
    assert halving.brackets[0].values == [{0: inf}, {0: 0.5}]


curves = st.lists(st.lists(st.floats(0, 1), min_size=LAST, max_size=LAST), min_size=1, max_size=30)


@given(curves, st.integers(1, 5), st.integers(2, 4), st.booleans(), st.integers(0, 99))
def test_every_search_ends_with_a_trial_that_ran_to_its_end(
    drawn: list[list[float]], at_once: int, factor: int, patient: bool, seed: int
) -> None:
    rungs = (1.0, 4.0, 9.0)
    halving = (hyperband if patient else asynchronous)(rungs, factor, len(drawn))
    epochs = climb(halving, drawn, at_once, seed)
    assert LAST in epochs
    assert set(epochs) <= {*rungs, LAST}


def test_finalists_end_however_few_come() -> None:
    halving = asynchronous((2, 6), 3, 12, finalists=3)
    assert sorted(climb(halving, constant([value / 12 for value in range(12)][::-1]))) == [2] * 8 + [6] + [LAST] * 3
    assert climb(asynchronous((2, 6), 3, 2, finalists=3), constant([0.1, 0.2])) == [LAST, LAST]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True), st.integers(1, 5), st.integers(0, 99))
def test_where_rungs_tell_the_truth_the_best_trial_ends(values: list[float], at_once: int, seed: int) -> None:
    for make in (asynchronous, hyperband):
        epochs = climb(make((1, 4, 9), 3, len(values)), constant(values), at_once, seed)
        assert epochs[values.index(max(values))] == LAST


@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.integers(0, 99))
def test_a_patient_bracket_sends_on_no_more_than_its_share(values: list[float], seed: int) -> None:
    halving = hyperband((1, 4, 9), 3, min(len(values), 27))
    epochs = climb(halving, constant(values[:27]), 4, seed)
    for rung, below in zip((4, 9, LAST), (1, 4, 9), strict=True):
        came = sum(each >= below for each in epochs)
        assert sum(each >= rung for each in epochs) == (max(1, came // 3) if came else 0)
