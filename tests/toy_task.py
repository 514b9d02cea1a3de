"""A task that is none of the product's: the index of the class as a number, which the first output is to be."""

from dataclasses import dataclass

from scenerec.training.metric import Metric
from scenerec.training.task import VAL_LOSS, Counts, Task


@dataclass(frozen=True)
class ToyCounts(Counts):
    squares: float = 0.0
    """Sum of the squared errors."""
    distances: float = 0.0
    """Sum of the absolute errors."""

    def metrics(self) -> dict[str, float]:
        return {VAL_LOSS.key: self.squares / self.samples, ERROR.key: self.distances / self.samples}


ERROR = Metric("val_error", "error")

TOY = Task(
    name="toy",
    counts=ToyCounts,
    metrics=(VAL_LOSS, ERROR),
    best=ERROR,
    torch_module="tests.torch_toy_task",
    tf_module="tests.tf_toy_task",
)
