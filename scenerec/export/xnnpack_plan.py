"""Which operators of a TFLite model XNNPACK computes, and which are left to LiteRT's slower kernels.

XNNPACK decides by an operator's kind, types and shapes, on ARM as on x86: what it plans here, it plans on a telephone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ai_edge_litert.interpreter import Interpreter

_PIECE = "DELEGATE"


@dataclass(frozen=True)
class XnnpackPlan:
    """What XNNPACK computes of a model."""

    operators: int
    """Operators of the model."""
    pieces: int
    """Runs of operators that XNNPACK computes at once; between two of them the data is handed over."""
    left: dict[str, int]
    """Operators that are left, by kind."""

    def __str__(self) -> str:
        taken = self.operators - sum(self.left.values())
        left = ", ".join(f"{count} {kind}" for kind, count in self.left.items())
        pieces = f"{self.pieces} piece{'' if self.pieces == 1 else 's'}"
        return f"XNNPACK takes {taken} of {self.operators} operators, in {pieces}" + (f"; left: {left}" if left else "")


def xnnpack_plan(model: bytes) -> XnnpackPlan:
    """Asks LiteRT for the plan of a TFLite model that it loads."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    outputs = [output["index"] for output in interpreter.get_output_details()]
    return plan_of(interpreter._get_ops_details(), outputs)  # no public call tells


def plan_of(nodes: Sequence[Mapping[str, Any]], outputs: Iterable[int]) -> XnnpackPlan:
    """The plan by LiteRT's nodes: the model's operators, and then XNNPACK's pieces, which stand in for some of them.

    What is executed is what the outputs come from: a tensor that a piece makes comes from the piece.
    """
    pieces = [node for node in nodes if node["op_name"] == _PIECE]
    operators = [node for node in nodes if node["op_name"] != _PIECE]
    makers = {int(tensor): node for node in (*operators, *pieces) for tensor in node["outputs"]}
    executed, wanted = set[int](), list(outputs)
    while wanted:
        maker = makers.get(int(wanted.pop()))  # none of constants and the model's input
        if maker is not None and maker["index"] not in executed:
            executed.add(maker["index"])
            wanted.extend(maker["inputs"])
    left = Counter(node["op_name"] for node in operators if node["index"] in executed)
    return XnnpackPlan(len(operators), len(pieces), dict(left.most_common()))
