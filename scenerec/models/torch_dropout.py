"""Dropout in torch by draws that depend on the sample, not on worker or framework. Mirrors keras_twin/drop_draws.py.

Whether an element is dropped is a hash of the sample's key, the layer's path, how often the layer has been called in
this pass, and the element's place in torch's order: the twin hashes the same, by the same arithmetic.
"""

import math
import zlib

import torch
from torch import nn
from torchvision.ops import StochasticDepth
from typing_extensions import override

_LOW = 2**32 - 1
_GOLDEN = 0x9E3779B1


class DropDraws:
    """What the dropout of a network draws from in a pass: the keys of its samples."""

    def __init__(self) -> None:
        self.keys: torch.Tensor | None = None
        self.layers: list[Dropout] = []

    def begin(self, keys: torch.Tensor) -> None:
        """The next pass is over samples with these keys, int64 [n] in [0, 2^32)."""
        self.keys = keys
        for layer in self.layers:
            layer.calls = 0


class Dropout(nn.Module):
    """torch's Dropout, or with `rows` StochasticDepth in mode "row": whole samples are dropped.

    Args:
        p: how often.
        rows: whether samples are dropped, in place of single elements.
        path: of the module in its network.
        draws: shared by the network's dropout.

    Attributes:
        calls: how often it has dropped in this pass.
    """

    def __init__(self, p: float, rows: bool, path: str, draws: DropDraws) -> None:
        super().__init__()
        self.p, self.rows, self.path, self.draws = p, rows, path, draws
        self.calls = 0
        draws.layers.append(self)

    @override
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drops, and scales what is kept by 1 / (1 - p), in training."""
        if not self.training or self.p == 0.0:
            return x
        assert self.draws.keys is not None
        elements = 1 if self.rows else math.prod(x.shape[1:])
        name = f"{self.path}_{self.calls}" if self.calls else self.path  # as the twin names its layers
        self.calls += 1
        kept = kept_elements(self.draws.keys, name, elements, self.p)
        kept = kept.view(-1, *([1] * (x.ndim - 1) if self.rows else x.shape[1:]))
        return torch.where(kept, x * (1 / (1 - self.p)), 0.0) if self.p < 1 else torch.zeros_like(x)


def kept_elements(keys: torch.Tensor, name: str, elements: int, rate: float) -> torch.Tensor:
    """Which of so many elements of each sample are kept, bool [n, elements], by keys int64 [n] and the layer's name."""
    starts = _hash(keys ^ _checksum(name))
    places = torch.arange(elements, device=keys.device) * _GOLDEN
    return _hash((starts[:, None] + places) & _LOW) >= math.floor(rate * 2**32)


def _checksum(name: str) -> int:
    return zlib.crc32(name.encode())


# All that torch.compiler.assume_constant_result does, but for loading the compiler.
_checksum._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _hash(bits: torch.Tensor) -> torch.Tensor:
    """A hash of 32 bits in int64, which no product exceeds: Wellons 2018 (hash-prospector)."""
    bits = ((bits ^ (bits >> 15)) * 0x2C1B3C6D) & _LOW
    bits = ((bits ^ (bits >> 12)) * 0x297A2D39) & _LOW
    return bits ^ (bits >> 15)


def draw_by_sample(network: nn.Module) -> DropDraws:
    """Lets all dropout of the network draw by sample; returns what must be told of each pass in training."""
    draws = DropDraws()
    for path, module in list(network.named_modules()):
        found = _rate(module)
        if found is not None:
            parent, _, child = path.rpartition(".")
            setattr(network.get_submodule(parent), child, Dropout(*found, path, draws))
    return draws


def _rate(module: nn.Module) -> tuple[float, bool] | None:
    """How often a module drops, and whether whole samples; None of what is no dropout."""
    if type(module) is nn.Dropout:
        return module.p, False
    if isinstance(module, StochasticDepth) and module.mode == "row":
        return module.p, True
    if type(module).__name__ == "DropPath":  # of timm, whose import takes seconds
        return float(module.drop_prob), True
    return None
