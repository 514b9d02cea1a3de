"""One process's place among those that train together. The loops know nothing else of what started them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Rank and size of this process, and where it computes."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    """`cpu`, or `cuda:N` for the Nth of the GPUs that this process sees."""

    @property
    def is_chief(self) -> bool:
        """Rank 0: the one that writes checkpoints and speaks."""
        return self.rank == 0
