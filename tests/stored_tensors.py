"""Gradients and statistics of several networks, kept in files, and how far they are from those of one of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

STATISTICS = ("running_mean", "running_var")
"""How the names of BatchNorm's statistics end."""
FLOOR = 1e-3
"""Share of the largest gradient's norm below which errors are relative to that floor: the gradient of a bias before a
BatchNorm is nothing but rounding."""


@dataclass(frozen=True)
class StoredTensors:
    """Sets of named tensors, in files."""

    folder: Path

    def put(self, kind: str, name: str, tensor: np.ndarray) -> None:
        np.save(self.folder / f"{kind}-{name}.npy", tensor)

    def get(self, kind: str, name: str) -> np.ndarray:
        return np.load(self.folder / f"{kind}-{name}.npy")

    def names(self) -> dict[str, set[str]]:
        """By kind."""
        found: dict[str, set[str]] = {}
        for file in self.folder.iterdir():
            kind, _, name = file.stem.partition("-")
            found.setdefault(kind, set()).add(name)
        return found


class Comparison:
    """Stored sets of tensors against torch's in float64, one tensor at a time."""

    def __init__(self, store: StoredTensors) -> None:
        self.store = store
        self.names = store.names()
        self.norms: dict[str, float] = {}
        self.distances: dict[str, dict[str, float]] = {kind: {} for kind in self.names}

    def add(self, name: str, truth: np.ndarray) -> None:
        self.norms[name] = float(np.linalg.norm(truth))
        for kind, names in self.names.items():
            if name in names:
                self.distances[kind][name] = float(np.linalg.norm(self.store.get(kind, name) - truth))

    def relative(self, kind: str, suffixes: tuple[str, ...] = ()) -> dict[str, float]:
        """Of the gradients, or of the tensors with these suffixes."""
        names = [name for name in self.norms if name.endswith(STATISTICS) == bool(suffixes)]
        lowest = 0.0 if suffixes else FLOOR * max(self.norms[name] for name in names)
        return {name: self.distances[kind][name] / max(self.norms[name], lowest) for name in names}
