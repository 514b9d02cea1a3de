import math
from pathlib import Path

import pytest
from PIL import Image

from scenerec.training.sample_log import GlobalBatch
from tests.chaos.picture import draw
from tests.chaos.plan import KINDS, Strike
from tests.chaos.report import Learned, Outcome, Requests, Struck, Trained, Verdict, outcomes, table
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


def verdict(lost: int = 0, differences: tuple[str, ...] = (), loss: float = 0.5) -> Verdict:
    return Verdict(0.5, Requests(200, 1, lost), differences, (loss, 0.5))


def test_the_table_has_a_line_a_strike(found: list[Outcome]) -> None:
    lines = table(found).splitlines()
    assert len(lines) == 3
    assert "a node's cable is cut" in lines[1]
    assert lines[2].endswith("2 requests")


def test_a_lost_request_and_a_difference_are_problems() -> None:
    assert verdict().problems == []
    assert verdict(lost=2).problems == ["2 of 203 requests were lost"]
    assert verdict(differences=("other epochs",)).problems == ["other epochs"]


def test_the_comparison_is_told() -> None:
    assert verdict().comparison == "equal batches, equal loss"
    assert verdict(loss=0.6).comparison == "equal batches, loss 0.6000 and 0.5000"
    assert verdict(differences=("other epochs",)).comparison == "other epochs"


BATCHES = [GlobalBatch(0, 0, ["a", "b"]), GlobalBatch(0, 1, ["c", "d"])]
EPOCH = Learned(1, 2, train_loss=0.5, validation={"val_top1": 0.25}, lr=0.1)
WHOLE = Trained(BATCHES, [EPOCH])


def test_equal_runs_differ_in_nothing() -> None:
    assert Trained(list(BATCHES), [EPOCH]).differences(WHOLE) == []


def test_a_run_whose_loss_stands_still_proves_nothing() -> None:
    learning = [EPOCH._replace(epoch=number, train_loss=1 / number) for number in range(1, 6)]
    assert not Trained(BATCHES, learning).is_dead
    assert Trained(BATCHES, [*learning, learning[-1], learning[-1]]).is_dead


def test_the_first_difference_is_named() -> None:
    swapped = GlobalBatch(0, 1, ["d", "c"])
    other = Trained([BATCHES[0], swapped], [EPOCH._replace(train_loss=math.nextafter(0.5, 1))])
    of_batches, of_epochs = other.differences(WHOLE)
    assert of_batches == f"other batches: {swapped}, and undisturbed {BATCHES[1]}"
    assert "train_loss=0.5000000000000001" in of_epochs
    assert other.differences(WHOLE, is_elastic=True) == [of_batches]
    assert Trained(BATCHES[:1], []).differences(WHOLE) == [
        "1 batches, and 2 undisturbed",
        "0 epochs, and 1 undisturbed",
    ]


def test_the_picture_is_a_png_as_wide_as_two_of_a_telephone(found: list[Outcome], tmp_path: Path) -> None:
    few, many = (draw(tmp_path / f"{times}.png", RUN, RUN, times * found, "goodput 0.5") for times in (1, 100))
    assert Image.open(few).size[0] == Image.open(many).size[0] == 750
    assert Image.open(many).size[1] < 1200  # a line for each kind of fault


def test_each_kind_has_its_fault() -> None:
    assert list(FAULTS) == [kind.name for kind in KINDS]
