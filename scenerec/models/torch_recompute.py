"""Blocks of a torch network that keep nothing but their inputs for the backward pass. Mirrors tf_recompute.

Activation checkpointing (Chen et al. 2016). What a block does beside its output it does once: in the repetition
BatchNorm moves no running statistics, and dropout drops what it has dropped.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from scenerec.models.torch_batchnorm import BatchNorm
from scenerec.models.torch_dropout import Dropout


def recompute(network: nn.Module, paths: Iterable[str]) -> None:
    """Lets the blocks at `paths` compute once more for the backward pass, in place; names of weights stay.

    Results and gradients stay the same to the last bit.
    """
    for path in paths:
        block = network.get_submodule(path)
        block.forward = partial(_recomputed, block, block.forward)


def _recomputed(block: nn.Module, forward: Callable[..., Any], /, *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    given = tree_map(lambda each: each, inputs)  # DenseNet appends to the list that a layer was given
    if torch.compiler.is_compiling():  # what is not output is no part of the graph that is repeated
        return checkpoint(forward, *given, use_reentrant=False, **named)
    return checkpoint(forward, *given, use_reentrant=False, context_fn=partial(_passes, block), **named)


def _passes(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What the forward pass is computed in, which begins now, and what its repetition is."""
    calls = {layer: layer.calls for layer in block.modules() if isinstance(layer, Dropout)}
    return nullcontext(), _repetition(block, calls)


@contextmanager
def _repetition(block: nn.Module, calls: Mapping[Dropout, int]) -> Iterator[None]:
    """Within, layers do what they did when dropout had been called so often, and leave no trace.

    BatchNorm moves its running statistics by nothing: without them it would save other tensors than before.
    """
    norms = [layer for layer in block.modules() if isinstance(layer, BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    calls_before = {layer: layer.calls for layer in calls}
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    _set_calls(calls)
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
        _set_calls(calls_before)


def _set_calls(calls: Mapping[Dropout, int]) -> None:
    for layer, count in calls.items():
        layer.calls = count
