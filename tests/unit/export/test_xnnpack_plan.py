from typing import Any

from scenerec.export.xnnpack_plan import XnnpackPlan, plan_of


def node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


OPERATORS = [
    node(0, "CONV_2D", [0, 1], [2]),
    node(1, "HARD_SWISH", [2], [3]),
    node(2, "CONV_2D", [3, 1], [4]),
    node(3, "HARD_SWISH", [4], [5]),
    node(4, "MEAN", [5, -1], [6]),
]


def test_what_no_piece_stands_in_for_is_left() -> None:
    pieces = [
        node(5, "DELEGATE", [0, 1], [2]),
        node(6, "DELEGATE", [3, 1], [4]),
        node(7, "DELEGATE", [5], [6]),
    ]
    plan = plan_of([*OPERATORS, *pieces], [6])
    assert plan == XnnpackPlan(5, 3, {"HARD_SWISH": 2})
    assert str(plan) == "XNNPACK takes 3 of 5 operators, in 3 pieces; left: 2 HARD_SWISH"


def test_one_piece_may_take_all_and_none_nothing() -> None:
    assert str(plan_of([*OPERATORS, node(5, "DELEGATE", [0, 1], [6])], [6])) == (
        "XNNPACK takes 5 of 5 operators, in 1 piece"
    )
    assert plan_of(OPERATORS, [6]).left == {"CONV_2D": 2, "HARD_SWISH": 2, "MEAN": 1}
