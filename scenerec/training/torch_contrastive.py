"""Contrastive losses in torch, with negatives from all ranks, and what a momentum encoder needs.

Mirrors tf_contrastive. Embeddings are [n, d] of one rank, of any length. Each loss gives those of the rank's n
samples, [n]: their sum over all ranks, divided by the global batch, is the paper's mean. Its gradients run through the
embeddings of other ranks, too, so that they are the same for any number of ranks.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.autograd.function import FunctionCtx
from typing_extensions import override


class Gathered(NamedTuple):
    """The rows of all ranks."""

    rows: torch.Tensor
    """[N, d], in order of the ranks."""
    start: int
    """Where this rank's begin."""


Gather = Callable[[torch.Tensor], Gathered]


def gather(rows: torch.Tensor) -> Gathered:
    """The rows [n, d] of all ranks, in which n may differ. Gradients come back from all ranks, and add up.

    Alone, a rank has its own.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return Gathered(rows, 0)
    counts = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=rows.device)
    counts[dist.get_rank()] = len(rows)
    dist.all_reduce(counts)
    before, here, behind = (int(part.sum()) for part in counts.tensor_split((dist.get_rank(), dist.get_rank() + 1)))
    assert here == len(rows)
    return Gathered(_SumOverRanks.apply(F.pad(rows, (0, 0, before, behind))), before)


class _SumOverRanks(torch.autograd.Function):
    """The sum of the ranks' tensors, whose gradient is the sum of the ranks' gradients."""

    @staticmethod
    @override
    def forward(ctx: FunctionCtx, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    @override
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        return _SumOverRanks.forward(ctx, gradient)


def normalize_rows(embeddings: torch.Tensor) -> torch.Tensor:
    """Embeddings [n, d], each of length 1 (L2)."""
    return F.normalize(embeddings, dim=1)


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float, gather: Gather) -> torch.Tensor:
    """SimCLR's losses [n] (Chen et al. 2020, equation 1), each the mean of both directions.

    Of two views' embeddings [n, d] of the same images. Negatives are all other views of the global batch, of both
    kinds, and have gradients.
    """
    first, second = normalize_rows(first), normalize_rows(second)
    rows, start = gather(torch.cat([first, second], dim=1))
    firsts, seconds = rows.tensor_split(2, dim=1)
    places = start + torch.arange(len(first), device=first.device)

    def one_way(anchors: torch.Tensor, partners: torch.Tensor, kin: torch.Tensor) -> torch.Tensor:
        itself = F.one_hot(places, len(kin)).bool()
        logits = torch.cat([anchors @ partners.T, (anchors @ kin.T).masked_fill(itself, -torch.inf)], dim=1)
        return F.cross_entropy(logits / temperature, places, reduction="none")

    return (one_way(first, seconds, firsts) + one_way(second, firsts, seconds)) / 2


def info_nce(query: torch.Tensor, key: torch.Tensor, queue: torch.Tensor, temperature: float) -> torch.Tensor:
    """MoCo's losses [n] (He et al. 2020, equation 1): a query [n, d] finds its key [n, d] beside a queue's [k, d].

    Keys and queue have no gradients.
    """
    query, key, queue = normalize_rows(query), normalize_rows(key.detach()), normalize_rows(queue.detach())
    logits = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ queue.T], dim=1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64), reduction="none")


def symmetric_info_nce(
    q1: torch.Tensor, q2: torch.Tensor, k1: torch.Tensor, k2: torch.Tensor, temperature: float, gather: Gather
) -> torch.Tensor:
    """MoCo v3's losses [n] (Chen, Xie, He 2021, algorithm 1): each view's query finds the other view's key.

    All [n, d]. Negatives are the keys of the global batch, without gradients. Scaled by 2 x temperature, as there.
    """
    keys, start = gather(torch.cat([normalize_rows(k1.detach()), normalize_rows(k2.detach())], dim=1))
    keys1, keys2 = keys.tensor_split(2, dim=1)
    places = start + torch.arange(len(q1), device=q1.device)

    def contrast(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        logits = normalize_rows(queries) @ keys.T / temperature
        return 2 * temperature * F.cross_entropy(logits, places, reduction="none")

    return contrast(q1, keys2) + contrast(q2, keys1)


def update_queue(queue: torch.Tensor, position: int, keys: torch.Tensor) -> tuple[torch.Tensor, int]:
    """A queue [k, d] whose oldest n rows, from `position` on, are replaced by keys [n, d]; and where it goes on.

    n is at most k. Neither tensor is changed.
    """
    places = (position + torch.arange(len(keys), device=queue.device)) % len(queue)
    return queue.index_copy(0, places, keys.detach().to(queue.dtype)), (position + len(keys)) % len(queue)


@torch.no_grad()
def update_momentum_encoder(keys: Sequence[torch.Tensor], queries: Sequence[torch.Tensor], momentum: float) -> None:
    """Moves a momentum encoder's weights, in place, towards the trained ones (He et al. 2020, equation 2)."""
    torch._foreach_lerp_(list(keys), list(queries), 1 - momentum)
