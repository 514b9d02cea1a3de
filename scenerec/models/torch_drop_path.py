"""The rates of stochastic depth in a torch network."""

from collections.abc import Iterator

import numpy as np
from torch import nn
from torchvision.ops import StochasticDepth

from scenerec.errors import ModelError

_OF_TIMM = "drop_path"
"""With what the names begin of the places that timm's blocks have for it, filled or not."""


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Sets the rates of the blocks: from 0 of the first to `rate` of the last, linear in between (Huang et al. 2016).

    Raises:
        ModelError: no block has a place for stochastic depth.
    """
    blocks = [(block, places) for block in network.modules() if (places := list(places_of(block)))]
    if not blocks:
        raise ModelError(f"model.drop_path: {type(network).__name__} has no blocks with stochastic depth: leave it out")
    for (block, places), share in zip(blocks, np.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for place in places:
            setattr(block, place, _layer(getattr(block, place), share))


def places_of(block: nn.Module) -> Iterator[str]:
    """Names of the block's attributes that are layers of stochastic depth, or that such layers may be put into."""
    for name, child in block.named_children():
        if isinstance(child, StochasticDepth) or name.startswith(_OF_TIMM):
            yield name
    for name, value in vars(block).items():
        if name.startswith(_OF_TIMM) and value is None:  # timm's ResNet without
            yield name


def _layer(present: nn.Module | None, rate: float) -> nn.Module:
    if isinstance(present, StochasticDepth):
        return StochasticDepth(rate, present.mode)
    from timm.layers import DropPath  # takes seconds, and a network that needs it has it imported

    return DropPath(rate) if rate else nn.Identity()
