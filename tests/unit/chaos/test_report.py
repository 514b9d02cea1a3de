import math
from pathlib import Path

import pytest
from PIL import Image

from scenerec.training.sample_log import GlobalBatch
from tests.chaos.picture import draw
from tests.chaos.plan import KINDS, Strike
from tests.chaos.report import Outcome, Requests, Struck, Trained, Verdict, differences, outcomes
from tests.chaos.strikes import FAULTS
from tests.chaos.timeline import Point, Timeline

BY_NAME = {kind.name: kind for kind in KINDS}
RUN = Timeline(
    (
        *(Point(100.0 + step, step) for step in range(1, 21)),  # the first fault, at 115, is felt at 120
        *(Point(150.0 + step, step) for step in range(19, 41)),
    )
)
STRUCK = [
    Struck(Strike(1, 15, BY_NAME["cut_cable"], rank=1, lasts_s=40), 115.0, Requests(10, 0, 0)),
    Struck(Strike(2, 35, BY_NAME["kill_replica"], rank=0, lasts_s=0), 185.0, Requests(90, 1, 0)),
]


@pytest.fixture
def found() -> list[Outcome]:
    return outcomes(STRUCK, RUN, usual_s=2, end=Requests(200, 1, 2))


def test_each_strike_costs_what_came_up_to_the_next(found: list[Outcome]) -> None:
    assert [(each.at_s, each.recovery_s) for each in found] == [(14, 56), (84, 0)]
    assert [(each.redone, each.refused, each.lost) for each in found] == [(2, 1, 0), (0, 0, 2)]


def test_a_pause_that_is_usual_is_no_consequence() -> None:
    patient = outcomes(STRUCK, RUN, usual_s=60, end=Requests(200, 1, 2))
    assert [each.recovery_s for each in patient] == [0, 0]


def test_the_table_has_a_line_a_strike(found: list[Outcome]) -> None:
    lines = Verdict(tuple(found), 0.5, Requests(200, 1, 2), ()).table.splitlines()
    assert len(lines) == 3
    assert "a node's cable is cut" in lines[1]
    assert lines[2].endswith("2 requests")


def test_a_lost_request_and_a_difference_are_problems() -> None:
    assert Verdict((), 0.5, Requests(200, 1, 0), ()).problems == []
    assert Verdict((), 0.5, Requests(200, 1, 2), ()).problems == ["2 of 203 requests were lost"]
    assert Verdict((), 0.5, Requests(200, 1, 0), ("other epochs",)).problems == ["other epochs"]


BATCHES = [GlobalBatch(0, 0, ["a", "b"]), GlobalBatch(0, 1, ["c", "d"])]
WHOLE = Trained(BATCHES, [(1, 2, 0.5)])


def test_equal_runs_differ_in_nothing() -> None:
    assert differences(Trained(list(BATCHES), [(1, 2, 0.5)]), WHOLE) == ()


def test_the_first_difference_is_named() -> None:
    swapped = Trained([BATCHES[0], GlobalBatch(0, 1, ["d", "c"])], [(1, 2, math.nextafter(0.5, 1))])
    other_batch, other_epoch = differences(swapped, WHOLE)
    assert other_batch.startswith("other batches: GlobalBatch(epoch=0, step=1, samples=['d', 'c'])")
    assert other_epoch == "other epochs: (1, 2, 0.5000000000000001), and undisturbed (1, 2, 0.5)"
    assert differences(Trained(BATCHES[:1], []), WHOLE) == (
        "1 batches, and 2 undisturbed",
        "0 epochs, and 1 undisturbed",
    )


def test_the_picture_is_a_png_as_wide_as_two_of_a_telephone(found: list[Outcome], tmp_path: Path) -> None:
    file = draw(tmp_path / "chaos.png", RUN, RUN, found, "goodput 0.5")
    assert Image.open(file).size[0] == 750


def test_each_kind_has_its_fault() -> None:
    assert list(FAULTS) == [kind.name for kind in KINDS]
