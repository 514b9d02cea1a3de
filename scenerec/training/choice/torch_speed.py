"""How long a core of this machine takes to learn from an image: a few training steps, timed."""

import statistics
import time
from functools import cache

import torch
from torch.nn.functional import cross_entropy

from scenerec.models.torch_model import build

_BATCH = 16
_CLASSES = 12


@cache
def core_seconds(arch: str, image_size: int, steps: int = 3) -> float:
    """Seconds of one core for an image of `image_size` pixels, forward and backward: the median of some steps.

    Seconds in which the core computes for others do not count.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = build(arch, _CLASSES, seed=0).to(memory_format=torch.channels_last)
        images = torch.rand(_BATCH, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
        labels = torch.arange(_BATCH) % _CLASSES
        taken = []
        for _ in range(steps + 1):
            began_s = time.process_time()
            cross_entropy(model(images), labels).backward()
            taken.append(time.process_time() - began_s)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(taken[1:]) / _BATCH  # the first one sets up what the others find
