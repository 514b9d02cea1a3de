"""A number by which networks compare: its name, its unit, and which way is better. Pure."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A number by which networks compare, as files name it and as people read it."""

    key: str
    """Key in metrics.jsonl, result.json and a search's `objective`; those of validation begin with val_."""
    name: str
    """Name in words, such as top-1."""
    unit: Literal["", "share", "parameters", "ms"] = ""
    """Unit of its values; a share is from 0 to 1, and shown as a percentage."""
    is_maximised: bool = False
    """Whether more of it is better; else less is."""

    def towards_better(self, value: float) -> float:
        """The value, with its sign changed where less is better: more is better then."""
        return value if self.is_maximised else -value

    def show(self, value: float | None, digits: int = 2) -> str:
        """`84.21%` for a share, `1.234` for a loss, `5.3M` for parameters, `3.46 ms`; "-" for none.

        `digits` are those of a percentage.
        """
        if value is None or not isfinite(value):
            return "-"
        match self.unit:
            case "share":
                return f"{value:.{digits}%}"
            case "parameters":
                return f"{value / 1e6:.1f}M"
            case "ms":
                return f"{value:.2f} ms"
            case _:
                return f"{value:.4g}"


VAL_LOSS = Metric("val_loss", "loss")
"""The mean loss over the validation set, which every task has."""
