from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.watch.changes import Change, SceneChanges, Thresholds

THRESHOLDS = Thresholds(enter=0.6, leave=0.4, dwell_s=0.5)
FRAME_S = 0.1

signals = st.lists(st.floats(0, 1), min_size=1, max_size=80)
thresholds = st.tuples(st.floats(0.3, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda drawn: Thresholds(enter=drawn[0], leave=drawn[0] * drawn[1], dwell_s=drawn[2])
)


def changes(signal: list[float], thresholds: Thresholds = THRESHOLDS) -> list[Change]:
    """Of two classes, by the probability of the first in each frame."""
    told = SceneChanges(thresholds)
    found = (told.update(number * FRAME_S, np.array([p, 1 - p])) for number, p in enumerate(signal))
    return [change for change in found if change]


def scenes(signal: list[float]) -> list[int | None]:
    return [change.scene for change in changes(signal)]


def test_a_scene_that_changes_is_told_once() -> None:
    fade = list(np.linspace(1, 0, 10))
    first, second = changes([*[1.0] * 20, *fade, *[0.0] * 20])
    assert (first.scene, first.previous, second.scene, second.previous) == (0, None, 1, 0)
    assert first.time_s == THRESHOLDS.dwell_s
    assert second.probability >= THRESHOLDS.enter


def test_between_the_thresholds_what_holds_goes_on() -> None:
    assert scenes([0.9] * 10 + [0.45, 0.55] * 20) == [0]
    assert scenes([0.5] * 40) == []


def test_what_flickers_is_not_told() -> None:
    assert scenes([1.0] * 10 + ([0.0] * 4 + [1.0] * 3) * 5) == [0]


def test_a_scene_that_nothing_follows_ends() -> None:
    told = SceneChanges(THRESHOLDS)
    vague = np.full(4, 0.25)
    found = [told.update(number * FRAME_S, np.eye(4)[2] if number < 10 else vague) for number in range(30)]
    assert [(each.scene, each.previous) for each in found if each] == [(2, None), (None, 2)]


@given(signals, thresholds)
def test_changes_follow_from_each_other(signal: list[float], thresholds: Thresholds) -> None:
    found = changes(signal, thresholds)
    assert [change.previous for change in found] == [None, *(change.scene for change in found)][: len(found)]
    assert all(change.scene != change.previous for change in found)


@given(signals, thresholds)
def test_between_changes_there_is_the_dwell_time(signal: list[float], thresholds: Thresholds) -> None:
    times = [change.time_s for change in changes(signal, thresholds)]
    assert all(later - earlier >= thresholds.dwell_s - 1e-9 for earlier, later in pairwise(times))


@given(signals, thresholds)
def test_what_is_told_was_probable(signal: list[float], thresholds: Thresholds) -> None:
    for change in changes(signal, thresholds):
        if change.scene is None:
            assert change.probability < thresholds.leave
        else:
            assert change.probability >= thresholds.enter
