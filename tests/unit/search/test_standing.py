"""Who leads, what a search recommends, and what it has saved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.search.best import best_config, best_trial
from scenerec.search.levels import trial_levels
from scenerec.search.standing import full_cost, leaderboard, pareto_front, savings
from scenerec.search.trial import Trial
from tests.tiny_search import MakeSearch, invented

BOTH = ("val_top1", "latency_ms")


def numbers(trials: list[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def test_the_best_epoch_counts() -> None:
    trial = invented(0, 0.2, 0.6, 0.6, 0.5)
    assert trial.value("val_top1") == 0.6
    assert trial.best_epoch("val_top1") == trial.history[1]
    assert trial.value("val_loss") == pytest.approx(1.8)
    assert trial.value("latency_ms") is None and trial.values(BOTH) is None


def test_what_is_not_a_number_is_no_value() -> None:
    assert invented(0, None, 0.3, float("nan"), 0.2).value("val_top1") == 0.3
    assert invented(0, None, float("inf")).value("val_top1") is None
    assert invented(0).value("val_top1") is None
    assert invented(0, static={"latency_ms": 3.0}).value("latency_ms") is None
    assert invented(0, 0.9, state="failed").value("val_top1") is None
    diverged = invented(0, 0.5, float("nan"))
    assert Trial.model_validate_json(diverged.model_dump_json()).value("val_top1") == 0.5


def test_the_best_leads_and_those_without_a_value_come_last() -> None:
    trials = [
        invented(0, state="refused", reason="no"),
        invented(1, 0.5, state="stopped"),
        invented(2, 0.5),
        invented(3, 0.4, 0.7),
        invented(4, 0.7),
        invented(5, 0.9, state="failed"),
    ]
    assert numbers(leaderboard(trials, ["val_top1"])) == [4, 3, 2, 1, 0, 5]
    assert numbers(leaderboard(trials, ["val_loss"]))[:2] == [4, 3]


def test_a_higher_level_leads_whatever_its_value() -> None:
    trials = [invented(0, 0.9, level=1), invented(1, 0.2, level=2), invented(2, 0.3, level=2)]
    assert numbers(leaderboard(trials, ["val_top1"])) == [2, 1, 0]


scores = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 2)), max_size=25)


@given(scores)
def test_the_front_is_beaten_by_none_and_beats_all_others(found: list[tuple[int, int, int]]) -> None:
    trials = [
        invented(number, top1 / 10, static={"latency_ms": float(ms)}, level=level)
        for number, (top1, ms, level) in enumerate(found)
    ]
    front = pareto_front(trials, BOTH)
    compared = [trial for trial in trials if trial.level == max((each.level for each in trials), default=1)]

    def beats(one: Trial, other: Trial) -> bool:
        (a, b), (c, d) = one.values(BOTH) or (0, 0), other.values(BOTH) or (0, 0)
        return a >= c and b <= d and (a, b) != (c, d)

    assert bool(front) == bool(trials)
    for trial in compared:
        assert (trial in front) == (not any(beats(other, trial) for other in compared))
        assert trial in front or any(beats(other, trial) for other in front)
    assert front == leaderboard(front, BOTH)


def test_savings_come_from_stopping_early_alone(make_search: MakeSearch) -> None:
    config = make_search()
    trials = [
        invented(0, *[0.5] * 9),
        invented(1, 0.1, 0.2, 0.3, state="stopped"),
        invented(2, 0.4, state="running"),
        invented(3, 0.4, state="failed", reason="out of memory"),
        invented(4, state="refused", reason="no"),
    ]
    saved = savings(config, trials)
    assert (saved.trials, saved.stopped, saved.epochs, saved.full_epochs) == (4, 1, 14, 20)
    assert str(saved) == "1 of 4 trials stopped early: 14 of 20 epochs run, 30% saved"
    assert "0 of 0 trials" in str(savings(config, []))


def test_levels_that_stop_nothing_save_nothing(make_search: MakeSearch) -> None:
    config = make_search(budget={"by": "data", "levels": [0.5, 1]}, search={"optimize.epochs": [4, 9]}, trials=2)
    trial = invented(0, 0.5, point={"optimize.epochs": 4}, cost=6.0)
    assert full_cost(config, trial) == 4
    assert sum(level.cost * level.config.optimize.epochs for level in trial_levels(config, 0, trial.point)) == 6
    assert str(savings(config, [trial])).endswith("6 of 4 epochs run, 50% more than without levels")


def test_the_best_config_is_a_job_of_its_own_beside_the_search(make_search: MakeSearch) -> None:
    config = make_search(retrain={"epochs": 40})
    trials = [invented(0, 0.5), invented(1, 0.6, point={"model.arch": "mobilenet_v3_small", "optimize.lr": 0.5})]
    best = best_trial(config, trials)
    assert best == trials[1]
    job = best_config(config, best)
    assert (job.kind, job.name, job.output) == ("train", "rooms-best", config.output)
    assert (job.model.arch, job.optimize.lr, job.optimize.epochs) == ("mobilenet_v3_small", 0.5, 40)
    assert best_config(make_search(), best, "trial-1").name == "rooms-trial-1"
    assert best_config(make_search(), best).optimize.epochs == 9
    assert best_config(make_search(name="n" * 63), best).name == "n" * 58 + "-best"
    assert best_trial(config, []) is None
    assert best_trial(config, [invented(0, 0.9, state="failed")]) is None
