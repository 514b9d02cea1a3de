"""Who proposes what; nothing is trained: a formula answers in place of a network."""

import math
from typing import Any

import pytest

from scenerec.config import space
from scenerec.config.space import Point
from scenerec.config.tune import TuneConfig
from scenerec.search.samplers import RandomSampler, Sampler, TpeSampler, make_sampler
from scenerec.search.trial import Trial
from tests.tiny_search import SPACE, MakeSearch, invented

SEARCHERS = ("random", "tpe")
TINY = {"model.arch": ["resnet18", "resnet50"], "optimize.warmup_epochs": {"integer": [0, 2]}}


def ended(number: int, point: Point, value: float, **fields: Any) -> Trial:
    return invented(number, value, point=point, **fields)


def bowl(point: Point) -> float:
    """Highest at lr 0.1 of resnet18 with step_gamma 0.1."""
    value = 1 - 0.15 * abs(math.log10(point["optimize.lr"] / 0.1))
    value -= 0.2 * (point["model.arch"] != "resnet18")
    return value - (abs(point["optimize.step_gamma"] - 0.1) if "optimize.step_gamma" in point else 0.2)


def searched(config: TuneConfig, trials: int, earlier: tuple[Trial, ...] = ()) -> list[Trial]:
    sampler = make_sampler(config, earlier)
    found = list(earlier)
    for number in range(len(earlier), trials):
        point = sampler.propose(number)
        assert point is not None
        found.append(ended(number, point, bowl(point)))
        sampler.tell(found[-1])
    return found


def in_space(config: TuneConfig, point: Point) -> bool:
    return set(point) == {
        field for field in config.search if space.exists(config.search, field, point, config.base_values)
    } and all(config.search[field].may_be(value) for field, value in point.items())


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_the_same_seed_proposes_the_same_points(make_search: MakeSearch, searcher: str) -> None:
    first, again = (searched(make_search(searcher=searcher, seed=3), 15) for _ in range(2))
    assert first == again
    assert searched(make_search(searcher=searcher, seed=4), 15) != first
    assert all(in_space(make_search(), trial.point) for trial in first)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_resumed_search_proposes_what_it_would_have_proposed(make_search: MakeSearch, searcher: str) -> None:
    config = make_search(searcher=searcher)
    whole = searched(config, 12)
    stored = tuple(Trial.model_validate_json(trial.model_dump_json()) for trial in whole[:7])
    assert searched(config, 12, stored) == whole


@pytest.mark.parametrize("searcher", ["random", "grid", "tpe"])
@pytest.mark.parametrize("before", [0, 1, 4, 6])
def test_a_small_space_is_proposed_to_its_last_point_and_none_twice(
    make_search: MakeSearch, searcher: str, before: int
) -> None:
    config = make_search(searcher=searcher, search=TINY, scheduler="none")
    points = list(space.grid(config.search, config.base_values))
    earlier = [ended(number, point, 0.5) for number, point in enumerate(points[:before])]
    if before:
        earlier[-1] = earlier[-1].model_copy(update={"state": "running"})
    sampler = make_sampler(config, earlier)
    proposed = [sampler.propose(number) for number in range(before, 7)]
    assert proposed[-1] is None
    keys = [space.point_key(point) for point in [trial.point for trial in earlier] + proposed[:-1] if point is not None]
    assert sorted(keys) == sorted(map(space.point_key, points))


def test_trials_of_another_order_of_fields_are_not_repeated(make_search: MakeSearch) -> None:
    config = make_search(searcher="random", search=TINY)
    points = [dict(reversed(point.items())) for point in space.grid(config.search, config.base_values)]
    sampler = make_sampler(config, [ended(number, point, 0.5) for number, point in enumerate(points)])
    assert sampler.propose(6) is None


@pytest.mark.parametrize("searcher", ["random", "grid", "tpe"])
def test_a_space_whose_only_point_is_the_base(make_search: MakeSearch, searcher: str) -> None:
    config = make_search(searcher=searcher, search={"model.arch": ["resnet18"]}, scheduler="none")
    sampler = make_sampler(config)
    assert [sampler.propose(0), sampler.propose(1)] == [{"model.arch": "resnet18"}, None]


def test_tpe_proposes_while_others_run_and_after_failures(make_search: MakeSearch) -> None:
    config = make_search(searcher="tpe", trials=30)
    sampler = make_sampler(config)
    for number in range(24):
        point = sampler.propose(number)
        assert point is not None and in_space(config, point)
        if number % 3 == 0:
            sampler.tell(Trial(number=number, point=point, state="failed", reason="out of memory"))
        elif number % 3 == 1:
            sampler.tell(ended(number, point, bowl(point), state="stopped"))
    assert isinstance(sampler, TpeSampler) and len(sampler.trials) == 24


def test_tpe_takes_values_that_have_left_the_finite_numbers(make_search: MakeSearch) -> None:
    config = make_search(searcher="tpe", objective="val_loss")
    sampler = make_sampler(config, [invented(0, None, point={"optimize.lr": 0.5}), invented(1, 0.5, point={})])
    assert sampler.propose(2) is not None


def test_choices_may_be_lists(make_search: MakeSearch) -> None:
    config = make_search(search={"data.augment.crop_scale": [[0.08, 1.0], [0.5, 1.0], [1, 1]]}, trials=3)
    sampler = make_sampler(config)
    proposed = []
    for number in range(3):
        point = sampler.propose(number)
        assert point is not None
        proposed.append(point["data.augment.crop_scale"])
        sampler.tell(ended(number, point, 0.1 * number))
    assert sorted(proposed) == [[0.08, 1.0], [0.5, 1.0], [1, 1]]


def test_several_objectives_are_searched_for_their_front(make_search: MakeSearch) -> None:
    config = make_search(objective=["val_top1", "latency_ms"], trials=40)
    sampler = make_sampler(config)
    for number in range(40):
        point = sampler.propose(number)
        assert point is not None and in_space(config, point)
        latency = 20.0 if point["model.arch"] == "resnet18" else 5.0
        sampler.tell(
            ended(number, point, bowl(point), static={"latency_ms": latency}, state=["finished", "stopped"][number % 2])
        )
    late = [trial for number, trial in known(sampler).items() if number >= 20]
    assert {trial.params["model.arch"] for trial in late} == {0, 1}  # both are on the front


def test_tpe_finds_the_good_region_more_often_than_chance(make_search: MakeSearch) -> None:
    def good(searcher: str, seed: int) -> int:
        config = make_search(searcher=searcher, seed=seed, trials=30)
        return sum(bowl(trial.point) > 0.8 for trial in searched(config, 30))

    by_model, by_chance = ([good(searcher, seed) for seed in range(5)] for searcher in ("tpe", "random"))
    assert sum(a > b for a, b in zip(by_model, by_chance, strict=True)) >= 4
    assert sum(by_model) > 2 * sum(by_chance)


def test_random_points_do_not_depend_on_what_came_of_others(make_search: MakeSearch) -> None:
    config = make_search(searcher="random")
    alone, told = RandomSampler(config), RandomSampler(config)
    told.tell(ended(0, {"optimize.lr": 0.01}, 0.9))
    assert alone.propose(5) == told.propose(5)
    assert set(SPACE) >= set(told.propose(6) or {})


def known(sampler: Sampler) -> dict[int, Any]:
    assert isinstance(sampler, TpeSampler)
    return sampler.trials
