"""Which parameters of a network are not trained: as names, without torch."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from scenerec.errors import ModelError
from scenerec.models.blocks import is_classifying, is_under

Freeze = str | Sequence[str]


@dataclass(frozen=True)
class TrainedPart:
    """How much of a network is trained."""

    trained: int
    """Scalars in the parameters that are trained."""
    total: int
    """Scalars in all parameters."""
    frozen: str
    """The modules that are frozen, in words."""

    def __str__(self) -> str:
        return f"{self.trained:,} of {self.total:,} parameters ({self.frozen} frozen)"


def frozen_names(arch: str, freeze: Freeze, names: Sequence[str]) -> set[str]:
    """Those of the parameters `names` that stay as they are.

    Args:
        arch: a name of the zoo.
        freeze: `none`; `backbone`, all but the head and what reads coordinates; or module paths, each with everything
            below it.
        names: all parameters of the network.

    Raises:
        ModelError: a path leads to no parameter, or nothing is left to train.
    """
    if freeze == "none":
        return set()
    if freeze == "backbone":
        return {name for name in names if not is_classifying(name, arch)}
    frozen: set[str] = set()
    for path in freeze:
        found = {name for name in names if is_under(name, path)}
        if not found:
            raise ModelError(f"model.freeze: {arch} has no module {path!r}: {_suggestion(path, names)}")
        frozen |= found
    if len(frozen) == len(names):
        raise ModelError(f"model.freeze: freezes all of {arch}, so that nothing is left to train: leave out a module")
    return frozen


def _suggestion(path: str, names: Sequence[str]) -> str:
    paths = list(dict.fromkeys(p for name in names for p in accumulate(name.split("."), "{}.{}".format)))
    nearest = difflib.get_close_matches(path, paths, n=3)
    if nearest:
        return f"the nearest are {', '.join(nearest)}"
    return f"its modules are {', '.join(dict.fromkeys(name.split('.')[0] for name in names))}"
