import random
from typing import Any

import pytest

from scenerec.config import space
from scenerec.config.tune import TuneConfig
from scenerec.search.importance import importance
from scenerec.search.trial import Trial
from tests.tiny_search import MakeSearch, invented

CONDITIONAL: dict[str, Any] = {
    "optimize.lr": {"log_uniform": [0.001, 1.0]},
    "optimize.schedule": ["cosine", "step", "constant"],
    "optimize.step_gamma": {"uniform": [0.05, 0.5], "when": {"optimize.schedule": "step"}},
    "optimize.weight_decay": {"uniform": [0, 0.1]},
}


def trials_of(config: TuneConfig, count: int, value: Any) -> list[Trial]:
    rng = random.Random(0)
    points = [space.random_point(config.search, config.base_values, rng) for _ in range(count)]
    return [invented(number, value(point), point=point) for number, point in enumerate(points)]


@pytest.mark.parametrize("objective", ["val_top1", "val_loss"])
def test_what_decides_is_the_most_important(make_search: MakeSearch, objective: str) -> None:
    config = make_search(search=CONDITIONAL, objective=objective)
    found = importance(config, trials_of(config, 60, lambda point: 0.9 - abs(point["optimize.lr"] - 0.01) / 2))
    assert next(iter(found.shares)) == "optimize.lr"
    assert found.shares["optimize.lr"] > 0.9
    assert sum(found.shares.values()) == pytest.approx(1)
    assert set(found.shares) == set(CONDITIONAL)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert (found.trials, found.reason) == (60, None)


def test_a_parameter_that_few_trials_have_can_decide(make_search: MakeSearch) -> None:
    config = make_search(search=CONDITIONAL)
    found = importance(config, trials_of(config, 90, lambda point: 0.9 - point.get("optimize.step_gamma", 0.4)))
    assert set(list(found.shares)[:2]) == {"optimize.step_gamma", "optimize.schedule"}


@pytest.mark.parametrize("count", range(4, 40, 3))
def test_any_number_of_trials_will_do(make_search: MakeSearch, count: int) -> None:
    config = make_search(search=CONDITIONAL)
    found = importance(config, trials_of(config, count, lambda point: point["optimize.lr"]))
    assert bool(found.shares) != bool(found.reason)
    assert not found.shares or sum(found.shares.values()) == pytest.approx(1)
    assert found.is_rough == (count < 40 and bool(found.shares))


def test_chance_stands_out_seldom(make_search: MakeSearch) -> None:
    config = make_search(search={"optimize.lr": {"log_uniform": [0.001, 1.0]}}, searcher="random")
    noise = random.Random(5)
    unseen = [importance(config, trials_of(config, 40, lambda _: noise.random())).shares == {} for _ in range(20)]
    assert sum(unseen) > 8


def test_equal_values_share_a_group(make_search: MakeSearch) -> None:
    config = make_search(search={"optimize.warmup_epochs": {"integer": [0, 8]}}, searcher="random")
    trials = [invented(number, 0.1 * number, point={"optimize.warmup_epochs": 2}) for number in range(8)]
    assert importance(config, trials).reason == "no parameter stands out from chance yet"


def test_why_there_is_none(make_search: MakeSearch) -> None:
    config = make_search(search=CONDITIONAL)
    few = [*trials_of(config, 3, lambda point: point["optimize.lr"]), invented(3, state="failed"), invented(4)]
    assert importance(config, few).reason == "needs 4 trials with a value, there are 3"
    assert importance(config, []).reason == "needs 4 trials with a value, there are 0"
    assert importance(config, trials_of(config, 9, lambda _: 0.5)).reason == "all trials came to the same value"
    same = [invented(number, number / 10, point={"optimize.lr": 0.1}) for number in range(8)]
    assert importance(config, same).reason == "no parameter stands out from chance yet"
    assert importance(config, same).shares == {}


def test_a_parameter_of_one_value_has_none(make_search: MakeSearch) -> None:
    config = make_search(search={**CONDITIONAL, "framework": ["torch"]})
    found = importance(config, trials_of(config, 20, lambda point: point["optimize.lr"]))
    assert found.shares["framework"] == 0


def test_a_higher_level_is_better_whatever_its_value(make_search: MakeSearch) -> None:
    config = make_search(search={"framework": ["torch", "tensorflow"], "optimize.weight_decay": [0, 0.1]})
    rng = random.Random(1)
    trials = []
    for number in range(30):
        point = {"framework": rng.choice(["torch", "tensorflow"]), "optimize.weight_decay": rng.choice([0, 0.1])}
        is_torch = point["framework"] == "torch"
        trials.append(invented(number, 0.2 if is_torch else 0.8, point=point, level=2 if is_torch else 1))
    assert next(iter(importance(config, trials).shares)) == "framework"
