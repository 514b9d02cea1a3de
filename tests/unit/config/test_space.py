import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from scenerec.config import space
from scenerec.config.space import Parameter

BASE = {"a": 0, "b": 0, "c": 0, "d": 0, "fixed": "yes"}

numbers = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-9, 1e6)


def pairs(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.tuples(values, values).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: tuple(sorted(pair)))


small_choices = st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True).map(lambda values: {"choice": values})
small_integers = st.builds(
    lambda pair, step: {"integer": pair, "step": step}, pairs(st.integers(0, 6)), st.integers(1, 3)
)
ranges = st.one_of(pairs(numbers).map(lambda p: {"uniform": p}), pairs(positive).map(lambda p: {"log_uniform": p}))


@st.composite
def spaces(draw: st.DrawFn, finite: bool = False) -> dict[str, Parameter]:
    """Parameters a to d, in any order; each but the first may depend on ones before it."""
    fields = draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
    kinds = st.one_of(small_choices, small_integers) if finite else st.one_of(small_choices, small_integers, ranges)
    parameters = {}
    for place, field in enumerate(fields):
        earlier = draw(st.lists(st.sampled_from(fields[:place] or ["fixed"]), max_size=2, unique=True))
        when = {other: draw(st.sampled_from(["yes", 0, [0, 1, 2], [1, 3]])) for other in earlier}
        parameters[field] = Parameter(**draw(kinds), when=when)
    order = draw(st.permutations(fields))
    return {field: parameters[field] for field in order}


def assert_in_space(point: space.Point, parameters: dict[str, Parameter]) -> None:
    for field, parameter in parameters.items():
        assert (field in point) == space.exists(parameters, field, point, BASE)
        assert field not in point or parameter.may_be(point[field])
    assert set(point) <= set(parameters)


@given(spaces(), st.integers())
def test_a_drawn_point_lies_in_the_space_and_meets_its_conditions(parameters: Any, seed: int) -> None:
    assert_in_space(space.random_point(parameters, BASE, random.Random(seed)), parameters)


@given(spaces(), st.integers())
def test_a_neighbour_lies_in_the_space(parameters: Any, seed: int) -> None:
    rng = random.Random(seed)
    point = space.random_point(parameters, BASE, rng)
    for _ in range(5):
        point = space.perturb(parameters, BASE, point, rng)
        assert_in_space(point, parameters)


@given(spaces(finite=True), st.integers())
def test_a_grid_has_every_point_once(parameters: Any, seed: int) -> None:
    points = list(space.grid(parameters, BASE))
    keys = {space.point_key(point) for point in points}
    assert len(keys) == len(points) == space.size(parameters, BASE)
    for point in points:
        assert_in_space(point, parameters)
    rng = random.Random(seed)
    assert all(space.point_key(space.random_point(parameters, BASE, rng)) in keys for _ in range(20))


@given(ranges, st.floats(0, 1))
@example({"log_uniform": [1e-9, 1.0000000000000003e-9]}, 0.5)
def test_share_of_is_the_inverse_of_at(kind: Any, share: float) -> None:
    parameter = Parameter(**kind)
    value = parameter.at(share)
    assert parameter.may_be(value)
    assert parameter.at(parameter.share_of(value)) == pytest.approx(value, rel=1e-6, abs=1e-6)


@given(small_integers)
def test_every_whole_number_comes_back_from_its_share(kind: Any) -> None:
    parameter = Parameter(**kind)
    assert [parameter.at(parameter.share_of(value)) for value in parameter.values or ()] == list(parameter.values or ())


def test_the_ends_of_a_range_are_its_own() -> None:
    parameter = Parameter(log_uniform=(0.0001, 0.3))
    assert parameter.samples == (0.0001, 0.3)
    assert parameter.at(0.5) == pytest.approx((0.0001 * 0.3) ** 0.5)
    assert Parameter(uniform=(0.1, 0.7)).samples == (0.1, 0.7)
    assert Parameter(integer=(1, 10), step=4).samples == (1, 9)


def test_a_wide_range_of_whole_numbers_takes_no_room() -> None:
    seeds = Parameter(integer=(0, 2**32 - 1))
    assert seeds.at(1.0) == 2**32 - 1
    assert space.size({"a": seeds}, BASE) is None


def test_a_neighbour_is_near() -> None:
    parameters = {"a": Parameter(uniform=(0, 10)), "b": Parameter(integer=(1, 9)), "c": Parameter(choice=("x", "y"))}
    rng = random.Random(0)
    for _ in range(50):
        moved = space.perturb(parameters, BASE, {"a": 5.0, "b": 5, "c": "x"}, rng, resample=0.0)
        assert moved["a"] in (4.0, 6.0) and moved["b"] in (4, 6) and moved["c"] in ("x", "y")


def test_a_grid_goes_in_order_and_leaves_out_what_does_not_exist() -> None:
    parameters = {
        "g": Parameter(choice=(1, 2), when={"s": "step"}),
        "s": Parameter(choice=("cosine", "step")),
    }
    assert list(space.grid(parameters, {})) == [{"s": "cosine"}, {"g": 1, "s": "step"}, {"g": 2, "s": "step"}]
    with pytest.raises(ValueError, match="lr: a grid needs its values"):
        list(space.grid({"lr": Parameter(uniform=(0, 1))}, {}))


def test_conditions_in_a_circle_are_named() -> None:
    parameters = {"a": Parameter(choice=(1,), when={"b": 1}), "b": Parameter(choice=(1,), when={"a": 1})}
    with pytest.raises(ValueError, match=r"\.when: conditions go in a circle: . -> . -> ."):
        space.ordered(parameters)


def test_a_point_is_applied_to_a_copy() -> None:
    document = {"optimize": {"lr": 0.1, "epochs": 2}, "framework": "torch"}
    changed = space.apply_point(document, {"optimize.lr": 1, "data.augment.flip": False})
    assert changed == {
        "optimize": {"lr": 1, "epochs": 2},
        "framework": "torch",
        "data": {"augment": {"flip": False}},
    }
    assert document["optimize"] == {"lr": 0.1, "epochs": 2}
    assert space.flatten(changed)["data.augment.flip"] is False


nested: Any = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abc"), nested, max_size=3))
def test_flatten_and_apply_are_inverse(document: Any) -> None:
    assert space.apply_point({}, space.flatten(document)) == document


def test_a_point_in_words() -> None:
    assert space.describe_point({"model.arch": "resnet18", "optimize.lr": 0.012345}) == "resnet18, lr 0.0123"
    assert space.describe_point({}) == "the base"


def test_the_key_of_a_point_does_not_depend_on_the_order_of_fields() -> None:
    assert space.point_key({"a": 1, "b": [0.5]}) == space.point_key({"b": [0.5], "a": 1})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "must have exactly one of choice, uniform, log_uniform, integer, has none"),
        ({"choice": [1], "uniform": [0, 1]}, "has choice and uniform"),
        ({"choice": [1, 1.0]}, "choice: a value stands twice"),
        ([], "at least 1 item"),
        ({"uniform": [1, 1]}, "uniform: the first number must be below the second"),
        ({"uniform": [0, float("inf")]}, r"uniform\.1\n  Input should be a finite number"),
        ({"log_uniform": [0, 1]}, "log_uniform: both numbers must be above 0"),
        ({"uniform": [0, 1], "step": 2}, "step: belongs to integer"),
        ({"choise": [1]}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_named(wrong: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Parameter.model_validate(wrong)
