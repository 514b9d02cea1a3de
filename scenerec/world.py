"""One process's place among those that train together: all that the loops know of what started them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Rank and size of this process, and where it computes."""

    rank: int = 0
    """Number of this process among them, from 0 on."""
    size: int = 1
    """How many processes train together."""
    device: str = "cpu"
    """Device that computes: `cpu`, or `cuda:N` for the Nth of the GPUs that this process sees."""

    @property
    def is_chief(self) -> bool:
        """Whether this is rank 0: the process that writes checkpoints and speaks."""
        return self.rank == 0
