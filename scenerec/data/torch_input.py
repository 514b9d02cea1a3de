"""The torch input pipeline: encoded images to uint8 batches, and these to what the network sees. Mirrors tf_input."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import InputConfig
from scenerec.config.mix import MixConfig
from scenerec.data.colors import WITH_SOLARIZE
from scenerec.data.mixing import Mixes, Pairing
from scenerec.data.packed_set import PackedSet
from scenerec.data.reader import statistics_reader, training_reader, validation_reader, view_pair_reader
from scenerec.data.recycled_memory import RecycledMemory
from scenerec.data.stream import Cursor, TrainingOrder
from scenerec.data.view_pair import PairBatch
from scenerec.models.preprocessing import IMAGENET, Channels, WeightPreprocessing
from scenerec.world import World


class Partners(NamedTuple):
    """What the images of a batch are mixed with, each with one of its own (`scenerec.data.mixing`)."""

    images: torch.Tensor
    """As of the batch."""
    labels: torch.Tensor
    """As of the batch."""
    colors: torch.Tensor | None
    """As of the batch."""
    mixes: Mixes[torch.Tensor]
    """How."""


class Batch(NamedTuple):
    """One rank's share of a batch, on the CPU."""

    images: torch.Tensor
    """uint8 [n, 3, image_size, image_size], RGB, in memory format channels_last."""
    labels: torch.Tensor
    """Class indices, int64 [n]; of a multi-label set 1 where a label is, float32 [n, classes]."""
    colors: torch.Tensor | None
    """What `normalize` does to the colours, float32 [n, 3, 4 or 5]; None where they stay as they are."""
    names: Sequence[str] = ()
    """Shard and key of each image; not of what is only a piece of a share."""
    coordinates: torch.Tensor | None = None
    """Latitude, longitude and time, float32 [n, 3], NaN where not known; None where the network takes none."""
    partners: Partners | None = None
    """What the images are mixed with; None where they stay as they are."""
    drop_keys: torch.Tensor | None = None
    """What dropout draws from for each image, int64 [n] in [0, 2^32); None outside of training."""


def training_input(
    data: PackedSet,
    config: InputConfig,
    order: TrainingOrder,
    world: World,
    start: Cursor,
    threads: int,
    coordinates: bool = False,
    mix: MixConfig | None = None,
) -> Generator[Batch, None, None]:
    """Yields this rank's share of every global batch from `start` to the run's end, decoded in `threads` threads.

    With `mix`, each batch has the partners of its images. The batches are in page-locked memory where the rank's device
    is a GPU, so that their copies to it do not block.
    """
    framework = _Torch(world)

    def begin(first: Cursor) -> Generator[Batch, None, None]:
        return iter(training_reader(framework, data, config, order, world, first, threads, coordinates))

    pairing = Pairing(mix, order, data.manifest.samples)
    for at, batch, others in pairing.pairs(begin, start):
        positions = pairing.positions(at, world.rank, world.size)
        keys, mixes = pairing.drop_keys(at, positions), pairing.mixes(at, positions, batch.images.shape[-1])
        partners = None
        if mixes is not None:
            tensors = Mixes(*map(framework.tensor, mixes))
            partners = Partners(others.images, others.labels, others.colors, tensors)
        yield batch._replace(partners=partners, drop_keys=framework.tensor(keys))


def view_pair_input(
    data: PackedSet,
    config: InputConfig,
    second: AugmentConfig,
    order: TrainingOrder,
    world: World,
    start: Cursor,
    threads: int,
) -> Generator[PairBatch[Batch], None, None]:
    """Yields this rank's share of every global batch as `training_input` does, each image seen twice.

    The first view is drawn by config.augment, as in `training_input`, the second by `second`. An image is decoded once.
    """
    return iter(view_pair_reader(_Torch(world), data, config, second, order, world, start, threads))


def validation_input(
    data: PackedSet, config: InputConfig, world: World, batch_size: int, threads: int, coordinates: bool = False
) -> Iterable[Batch]:
    """This rank's share of the validation set, iterated once an epoch, decoded in `threads` threads.

    The batches are in page-locked memory as in `training_input`.
    """
    return validation_reader(_Torch(world), data, config, world, batch_size, threads, coordinates)


def statistics_input(
    data: PackedSet,
    config: InputConfig,
    seed: int,
    batch_size: int,
    batches: int,
    world: World,
    threads: int,
    coordinates: bool = False,
) -> Iterable[Batch]:
    """This rank's whole batches (each `world.size`-th) of `batches` that sample the training set by `seed`."""
    return statistics_reader(_Torch(world), data, config, seed, batch_size, batches, world, threads, coordinates)


def normalize(
    images: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    colors: torch.Tensor | None = None,
    preprocessing: WeightPreprocessing = IMAGENET,
) -> torch.Tensor:
    """Normalises uint8 [n, 3, h, w] by a mean and deviation to `dtype`, on the device of `images`.

    Where `colors` are given, float32 [n, 3, 4 or 5] (color_matrices of the same `preprocessing`), they are changed with
    it, clipped to black and white, and solarised. The memory format is channels_last. The arithmetic runs along whole
    rows, which saves most of its time.
    """
    n, _, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(n, height, width * 3)

    def row(channels: Channels) -> torch.Tensor:
        return torch.tensor(channels, dtype=dtype, device=images.device).repeat(width)

    if colors is None:
        rows = rows.to(dtype).sub_(row(preprocessing.mean_levels)).div_(row(preprocessing.std_levels))
    else:
        colors = colors.to(dtype)
        rows = _recolor(rows, colors[:, :, :4], row(preprocessing.darkest), row(preprocessing.brightest))
        if colors.shape[2] == WITH_SOLARIZE:
            torch.minimum(rows, colors[:, :, 4].repeat(1, width)[:, None] - rows, out=rows)
    return rows.view(n, height, width, 3).permute(0, 3, 1, 2)


def _recolor(rows: torch.Tensor, colors: torch.Tensor, darkest: torch.Tensor, brightest: torch.Tensor) -> torch.Tensor:
    """uint8 [n, h, 3 w] through [n, 3, 4], clipped; four pixels at a time where that comes out.

    A wider product is a faster one.
    """
    n, pixels = len(rows), 4 if rows.shape[1] * rows.shape[2] % 12 == 0 else 1
    diagonal = torch.eye(pixels, dtype=colors.dtype, device=colors.device)
    matrices = torch.einsum("ij,ndc->nicjd", diagonal, colors[:, :, :3]).reshape(n, 3 * pixels, 3 * pixels)
    added = colors[:, :, 3].repeat(1, rows.shape[2] // 3)[:, None]
    recolored = torch.empty_like(rows, dtype=colors.dtype)
    flat = recolored.view(n, -1, 3 * pixels)
    if rows.device.type != "cpu":
        torch.bmm(rows.view(flat.shape).to(colors.dtype), matrices, out=flat)
        return recolored.add_(added).clamp_(darkest, brightest)
    # One core, which has one image at a time in its cache; of several, each would wait for the others at each step.
    levels = torch.empty(rows.shape[1:], dtype=colors.dtype)
    with _one_thread():
        for row, target, product, matrix, offset in zip(rows, recolored, flat, matrices, added, strict=True):
            levels.copy_(row)
            torch.mm(levels.view(product.shape), matrix, out=product)  # addmm takes three times as long
            target.add_(offset).clamp_(darkest, brightest)
    return recolored


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Torch:
    """Makes torch's batches."""

    world: World

    def allocator(self) -> Callable[[tuple[int, ...]], torch.Tensor]:
        if self._pins:  # torch knows when a copy to the GPU has ended
            return partial(torch.empty, dtype=torch.uint8, pin_memory=True)
        recycled = RecycledMemory()
        return lambda shape: torch.from_numpy(recycled.array(shape))

    def batch(
        self,
        images: torch.Tensor,
        labels: np.ndarray,
        colors: np.ndarray | None,
        names: Sequence[str],
        coordinates: np.ndarray | None,
    ) -> Batch:
        matrices, located = (None if array is None else self.tensor(array) for array in (colors, coordinates))
        return Batch(images.permute(0, 3, 1, 2), self.tensor(labels), matrices, names, located)

    @property
    def _pins(self) -> bool:
        return torch.device(self.world.device).type == "cuda"

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).pin_memory() if self._pins else torch.from_numpy(array)
