"""What is counted while training and validating, in sums that add up over batches and ranks."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ValidationCounts:
    """Sums over samples: they add up exactly, whatever the batches and ranks."""

    samples: int = 0
    loss_sum: float = 0.0
    top1: int = 0
    top5: int = 0

    def __add__(self, other: "ValidationCounts") -> "ValidationCounts":
        return ValidationCounts(
            self.samples + other.samples,
            self.loss_sum + other.loss_sum,
            self.top1 + other.top1,
            self.top5 + other.top5,
        )

    def as_array(self) -> np.ndarray:
        """float64 [4], for a sum over ranks; exact up to 2**53 samples."""
        return np.array([self.samples, self.loss_sum, self.top1, self.top5], dtype=np.float64)

    @staticmethod
    def from_array(array: np.ndarray) -> "ValidationCounts":
        """The reverse of as_array."""
        samples, loss_sum, top1, top5 = array.tolist()
        return ValidationCounts(round(samples), loss_sum, round(top1), round(top5))

    def rates(self) -> dict[str, float]:
        """Means over the samples: val_loss (cross-entropy without smoothing), val_top1, val_top5 (fractions)."""
        return {
            "val_loss": self.loss_sum / self.samples,
            "val_top1": self.top1 / self.samples,
            "val_top5": self.top5 / self.samples,
        }


def best_epoch(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The finished epoch with the highest val_top1, the first of equals."""
    return max(history, key=lambda epoch: (epoch["val_top1"], -epoch["epoch"]), default=None)
