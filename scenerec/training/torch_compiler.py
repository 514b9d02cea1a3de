"""A torch network, compiled."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from scenerec.errors import ClusterError


def compiled(network: nn.Module, **options: Any) -> Callable[..., torch.Tensor]:
    """The network by torch.compile, for inputs of few shapes; `options` are further ones of torch.compile.

    Raises:
        ClusterError: this machine has no C++ compiler; torch would say so in the first step only.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ClusterError(
            f"compute.compile: torch compiles by {compiler}, and a worker's machine has none: install it on the nodes "
            "(or name another compiler in their CXX), or leave compute.compile out"
        )
    # Blocks that are computed twice (torch_recompute) count the calls of dropout, which a repetition must not.
    torch._dynamo.config.skip_fwd_side_effects_in_bwd_under_checkpoint = True
    return torch.compile(network, dynamic=False, **options)
