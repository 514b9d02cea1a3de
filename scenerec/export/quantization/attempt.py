"""A form of a model that was tried, and what it gave."""

from dataclasses import asdict, dataclass
from typing import Any

from scenerec.export.quantization.accuracy_gate import Score
from scenerec.export.quantization.speed import SpeedUp


@dataclass(frozen=True)
class Attempt:
    """A quantised form of a model, measured against the form in float32."""

    form: str
    """What was done, in words."""
    score: Score
    """How good the form is."""
    size_bytes: int
    """Size of the model's file."""
    speed: tuple[SpeedUp, ...]
    """How much faster than float32 the form is, at each batch size; empty where it was not timed."""

    @property
    def speedup(self) -> float:
        """The smallest speed-up over the batch sizes; 1 where none was measured."""
        return min((entry.ratio for entry in self.speed), default=1.0)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON values, as bundle.json lists them."""
        return {
            "form": self.form,
            **self.score.as_dict(),
            "size_bytes": self.size_bytes,
            "speed": [asdict(entry) for entry in self.speed],
        }

    def __str__(self) -> str:
        return (
            f"{self.form}: {self.score.accuracy_name} {self.score.accuracy:.1%}, "
            f"agrees with fp32 on {self.score.agreement:.1%}, "
            + ", ".join([f"{self.size_bytes / 1e6:.1f} MB", *map(str, self.speed)])
        )
