"""How the ranks of a training in torch share gradients; uses of torch what is not of its public interface.

Mirrors tf_ranks.
"""

import sys
from contextlib import contextmanager
from inspect import unwrap
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def mean_of_ranks(model: nn.Module, is_compiled: bool = False) -> DistributedDataParallel:
    """The model, with gradients that are the mean over the ranks of the process group.

    By itself torch loads its compiler for that, a second of each worker's start, only to ask for one of its settings.
    Running statistics are rank 0's, but only validation and checkpoints read them: sent then, not each step.
    """
    if is_compiled or "torch._dynamo" in sys.modules:
        return DistributedDataParallel(model, forward_sync_buffers=False)
    by_default = SimpleNamespace(get_optimize_ddp_mode=lambda: "ddp_optimizer")
    torch._dynamo = SimpleNamespace(utils=by_default)
    try:
        return _Uncompiled(model, forward_sync_buffers=False)
    finally:
        delattr(torch, "_dynamo")


class _Uncompiled(DistributedDataParallel):
    _inside_ddp_forward = contextmanager(unwrap(DistributedDataParallel._inside_ddp_forward))
