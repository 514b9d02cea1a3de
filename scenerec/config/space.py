"""The space of a search: parameters over the fields of a training config, some of which exist under a condition only.

Pure: a point is a dict from field ("optimize.lr") to value, and whoever draws one gives the choices.
"""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from scenerec.config.block import Block
from scenerec.frozen import shown

Point = dict[str, Any]
"""Values by field; a parameter whose condition does not hold is not in it."""

_KINDS = ("choice", "uniform", "log_uniform", "integer")


class Parameter(Block):
    """What one field may be: exactly one of `choice`, `uniform`, `log_uniform` and `integer`. A list is a choice."""

    choice: tuple[Any, ...] | None = Field(None, min_length=1)
    """Any of these values, which have no order."""
    uniform: tuple[float, float] | None = None
    """A number between two, each as likely."""
    log_uniform: tuple[float, float] | None = None
    """A number between two above 0, its logarithm uniform: for learning rates and decays."""
    integer: tuple[int, int] | None = None
    """A whole number between two, both included."""
    step: int = Field(1, ge=1)
    """`integer`: distance between neighbours, from the lower end."""
    when: dict[str, Any] = Field(default_factory=dict)
    """The parameter exists only where these fields have these values (a list: one of them), such as
    {optimize.schedule: step}. They may be searched as well; elsewhere the base's value counts."""

    @model_validator(mode="before")
    @classmethod
    def _list_is_a_choice(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {"choice": value}
        if not isinstance(value, Mapping | Parameter):
            raise ValueError(
                f"must be a list of values, or a range such as {{uniform: [0.1, 0.3]}}, not {shown(value)}"
            )
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> "Parameter":
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of {', '.join(_KINDS)}, has {' and '.join(given) or 'none'}")
        if self.choice is not None:
            if any(self.choice.index(value) < place for place, value in enumerate(self.choice)):
                raise ValueError("choice: a value stands twice")
            return self
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"{given[0]}: the first number must be below the second")
        if self.log_uniform and low <= 0:
            raise ValueError("log_uniform: both numbers must be above 0")
        if self.step != 1 and not self.integer:
            raise ValueError("step: belongs to integer")
        return self

    @model_serializer(mode="wrap")
    def _only_what_is_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        left_out = {"step": 1, "when": {}}
        return {key: value for key, value in handler(self).items() if value is not None and left_out.get(key) != value}

    @property
    def bounds(self) -> tuple[float, float]:
        """The two ends of the range."""
        ends = self.uniform or self.log_uniform or self.integer
        assert ends is not None
        return ends

    @property
    def values(self) -> Sequence[Any] | None:
        """All values that it may have, in order; None for a continuous range."""
        if self.integer:
            return range(self.integer[0], self.integer[1] + 1, self.step)
        return self.choice

    @property
    def samples(self) -> tuple[Any, ...]:
        """What a check must try: all values of a choice, the ends of a range."""
        if self.choice is not None:
            return self.choice
        return (self.values[0], self.values[-1]) if self.values is not None else self.bounds

    def may_be(self, value: Any) -> bool:
        """Whether it can have this value."""
        if self.values is not None:
            return value in self.values
        low, high = self.bounds
        return isinstance(value, (int, float)) and low <= value <= high

    def at(self, share: float) -> Any:
        """The value at `share` in [0, 1] of the whole range (the inverse of its distribution function)."""
        if (values := self.values) is not None:
            return values[min(int(share * len(values)), len(values) - 1)]
        low, high = self.bounds
        if self.log_uniform:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        return min(max(value, low), high)  # what rounding may have added

    def share_of(self, value: Any) -> float:
        """Where in [0, 1] a value of a range stands: the inverse of `at`."""
        low, high = self.bounds
        if self.log_uniform:
            low, high, value = math.log(low), math.log(high), math.log(value)
        if low == high:
            return 0.0  # of two neighbouring numbers the logarithms are one
        return float(min(max((value - low) / (high - low), 0.0), 1.0))


Space = Mapping[str, Parameter]
"""Parameters by field."""

Choose = Callable[[str, Parameter], Any]
"""Gives the value of a parameter, by its field."""


def ordered(space: Space) -> list[str]:
    """The fields, each after those that its condition names. Raises ValueError where conditions go in a circle."""
    graph = {field: [other for other in parameter.when if other in space] for field, parameter in space.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ValueError(f"{error.args[1][0]}.when: conditions go in a circle: {' -> '.join(error.args[1])}") from None


def build_point(space: Space, base: Mapping[str, Any], choose: Choose) -> Point:
    """A point whose values `choose` gives, asked in order for each parameter that exists; `base` is by `flatten`."""
    point: Point = {}
    for field in ordered(space):
        if exists(space, field, point, base):
            point[field] = choose(field, space[field])
    return {field: point[field] for field in space if field in point}


def exists(space: Space, field: str, point: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Whether the conditions of a parameter hold at `point`; one on a parameter that does not exist is not met."""
    for other, wanted in space[field].when.items():
        if other in space and other not in point:
            return False
        if point.get(other, base.get(other)) not in wanted_values(wanted):
            return False
    return True


def wanted_values(wanted: Any) -> Sequence[Any]:
    """The values under which a condition holds: its list, or its one value."""
    return wanted if isinstance(wanted, (list, tuple)) else (wanted,)


def random_point(space: Space, base: Mapping[str, Any], rng: random.Random) -> Point:
    """A point drawn from the whole space."""
    return build_point(space, base, lambda _, parameter: parameter.at(rng.random()))


def grid(space: Space, base: Mapping[str, Any]) -> Iterator[Point]:
    """Yields every point once, the last field changing fastest. Raises ValueError for a continuous parameter."""
    for field, parameter in space.items():
        if parameter.values is None:
            raise ValueError(f"{field}: a grid needs its values: make it a choice")

    def points(fields: list[str], point: Point) -> Iterator[Point]:
        if not fields:
            yield {field: point[field] for field in space if field in point}
            return
        field, *rest = fields
        if not exists(space, field, point, base):
            yield from points(rest, point)
            return
        for value in space[field].values or ():
            yield from points(rest, {**point, field: value})

    yield from points(ordered(space), {})


def perturb(space: Space, base: Mapping[str, Any], point: Point, rng: random.Random, resample: float = 0.25) -> Point:
    """A neighbour of `point`, as population based training explores (Jaderberg et al. 2017, section 4).

    A continuous value is multiplied by 0.8 or 1.2 and kept in its range, an integer or a choice moves to a neighbour
    in its list; with probability `resample` a value is drawn anew.
    """

    def moved(field: str, parameter: Parameter) -> Any:
        if field not in point or rng.random() < resample:
            return parameter.at(rng.random())
        value = point[field]
        if (values := parameter.values) is not None:
            index = values.index(value) + rng.choice((-1, 1))
            return values[min(max(index, 0), len(values) - 1)]
        low, high = parameter.bounds
        return min(max(value * rng.choice((0.8, 1.2)), low), high)

    return build_point(space, base, moved)


def size(space: Space, base: Mapping[str, Any], most: int = 100_000) -> int | None:
    """The number of points; None where there are infinitely many or more than `most`."""
    if any(parameter.values is None for parameter in space.values()):
        return None
    count = 0
    for _ in grid(space, base):
        count += 1
        if count > most:
            return None
    return count


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested keys: {"optimize": {"lr": 0.1}} becomes {"optimize.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def apply_point(document: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the nested `document` with the values of `point` in their places."""
    result = {key: apply_point(value, {}) if isinstance(value, Mapping) else value for key, value in document.items()}
    for field, value in point.items():
        *blocks, key = field.split(".")
        block = result
        for name in blocks:
            block[name] = block.get(name) or {}  # a block that may be left out is None there
            block = block[name]
        block[key] = value
    return result


def point_key(point: Mapping[str, Any]) -> str:
    """A text that is the same for equal points, in whatever order their fields are."""
    return json.dumps(point, sort_keys=True, default=str)


def describe_point(point: Mapping[str, Any]) -> str:
    """Says a point in a few words: `resnet18, lr 0.0123, schedule cosine`."""
    return ", ".join(_describe(field, value) for field, value in point.items()) or "the base"


def describe_value(value: Any) -> str:
    """Says a value in three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _describe(field: str, value: Any) -> str:
    shown = describe_value(value)
    return shown if field in ("model.arch", "framework") else f"{field.rpartition('.')[2]} {shown}"
