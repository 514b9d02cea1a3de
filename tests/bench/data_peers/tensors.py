"""Torchvision's second transforms, on tensors, for ways that bring no more than encoded bytes."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from tests.bench.data_ways import SIZE, Work

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def decoded(file: str | bytes) -> torch.Tensor:
    """A file by its path, or its bytes; uint8 [3, height, width]."""
    content = file if isinstance(file, str) else torch.frombuffer(bytearray(file), dtype=torch.uint8)
    return decode_image(content, ImageReadMode.RGB)  # type: ignore[arg-type]  # of paths, too


def on_tensors(work: Work) -> v2.Compose:
    """What is done with a decoded image."""
    steps: list[Any] = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip()]
    if work.jitter:
        steps += [v2.ColorJitter(work.jitter, work.jitter, work.jitter), v2.ToDtype(torch.float32, scale=True)]
        steps += [v2.Normalize(_MEAN, _STD)]
    return v2.Compose(steps)


def processes(work: Work) -> int:
    """Processes of a DataLoader: none beside this one for one core. Sets its threads and its seed."""
    torch.set_num_threads(1)
    torch.manual_seed(work.seed)
    return work.cores if work.cores > 1 else 0


def counted(batches: Iterable[Any]) -> Iterator[int]:
    """Images of each batch, of pairs of images and labels."""
    for images, _ in batches:
        yield len(images)
