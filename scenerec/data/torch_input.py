"""The torch input pipeline: encoded images to uint8 batches. Mirrors tf_input."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torchvision.transforms.v2 import functional as F
from typing_extensions import override

from scenerec.config.train import DataConfig
from scenerec.data import packed_image
from scenerec.data.augment import CenterCrop, View
from scenerec.data.order import batch_positions
from scenerec.data.packed_image import undecodable
from scenerec.data.packed_set import PackedSet
from scenerec.data.picture import PictureError
from scenerec.data.stream import (
    Cursor,
    EncodedBatch,
    TrainingOrder,
    statistics_batches,
    training_batches,
    training_cursors,
    validation_batches,
)
from scenerec.errors import ScenerecError
from scenerec.models.zoo import IMAGENET_MEAN, IMAGENET_STD
from scenerec.world import World


class Batch(NamedTuple):
    """One rank's share of a batch, on the CPU."""

    images: torch.Tensor
    """uint8 [n, 3, image_size, image_size] (NCHW), RGB."""
    labels: torch.Tensor
    """Class indices, int64 [n]."""


def training_input(
    data: PackedSet, config: DataConfig, order: TrainingOrder, world: World, start: Cursor, processes: int
) -> Iterator[Batch]:
    """Yields this rank's share of every global batch from `start` to the run's end, decoded in `processes` processes.

    The batches are in page-locked memory where the rank's device is a GPU, so that their copies to it do not block.
    """
    pin_memory = _pins(world)
    shares = iter(_loader(_TrainingImages(data, config, order, world, start), processes, pin_memory and processes <= 1))
    for cursor in training_cursors(data.manifest.samples, order, start):
        parts = _next_parts(shares, max(processes, 1))
        first = int(batch_positions(cursor.step, order.global_batch_size, world.rank, world.size)[0])
        leading = first // world.size % len(parts)  # the loader process that has the share's first position
        yield _interleave(parts[leading:] + parts[:leading], pin_memory)


def validation_input(
    data: PackedSet, config: DataConfig, world: World, batch_size: int, processes: int
) -> Iterable[Batch]:
    """This rank's share of the validation set, iterated once an epoch, decoded in `processes` processes.

    The batches are in page-locked memory as in `training_input`.
    """
    return _loader(_ValidationImages(data, config, world, batch_size), processes, _pins(world))


def statistics_input(
    data: PackedSet, config: DataConfig, seed: int, batch_size: int, batches: int, world: World, processes: int
) -> Iterable[Batch]:
    """This rank's whole batches (each `world.size`-th) of `batches` that sample the training set by `seed`."""
    return _loader(_StatisticsImages(data, config, seed, batch_size, batches, world), processes, _pins(world))


def decode_training(encoded: bytes, view: View, image_size: int) -> torch.Tensor:
    """Decodes an image and applies its view; uint8 [3, image_size, image_size] (CHW).

    In order: crop, resize (bilinear, antialiased), flip, colour.
    """
    image = F.crop(_tensor(packed_image.decode(encoded)), view.top, view.left, view.height, view.width)
    image = _resize(image, image_size, image_size)
    if view.flip:
        image = F.horizontal_flip(image)
    if (view.brightness, view.contrast, view.saturation) != (1, 1, 1):
        image = image.to(torch.float32).div(255)
        image = F.adjust_brightness(image, view.brightness)
        image = F.adjust_contrast(image, view.contrast)
        image = F.adjust_saturation(image, view.saturation)
        image = image.mul(255).round_().to(torch.uint8)
    return image


def decode_evaluation(encoded: bytes, crop: CenterCrop, image_size: int) -> torch.Tensor:
    """Decodes, resizes (bilinear, antialiased) and centre-crops an image; uint8 [3, image_size, image_size] (CHW)."""
    pixels, crop = packed_image.decode_for(crop, encoded, image_size)
    image = _resize(_tensor(pixels), crop.height, crop.width)
    return F.crop(image, crop.top, crop.left, image_size, image_size)


def normalize(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normalises uint8 [n, 3, h, w] by ImageNet's mean and deviation to `dtype`, on the device of `images`."""
    mean = torch.tensor(IMAGENET_MEAN, dtype=dtype, device=images.device).view(1, 3, 1, 1).mul(255)
    std = torch.tensor(IMAGENET_STD, dtype=dtype, device=images.device).view(1, 3, 1, 1).mul(255)
    return (images.to(dtype) - mean) / std


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    # In float32: torchvision's faster uint8 kernel rounds in between, and a tenth of the pixels then differ from
    # TensorFlow's by one level, which moves the first loss of a ResNet-18 by 0.4 %.
    resized = F.resize(image.to(torch.float32), [height, width], antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def _decode_batch(batch: EncodedBatch, decode: Callable[..., torch.Tensor], image_size: int) -> Batch:
    images = torch.empty((len(batch.images), 3, image_size, image_size), dtype=torch.uint8)
    for index, (encoded, view) in enumerate(zip(batch.images, batch.views, strict=True)):
        try:
            images[index] = decode(encoded, view, image_size)
        except (PictureError, RuntimeError, ValueError) as error:
            raise undecodable(batch.names[index], error) from None
    return Batch(images, torch.from_numpy(batch.labels))


@dataclass
class _TrainingImages(IterableDataset[Batch]):
    data: PackedSet
    config: DataConfig
    order: TrainingOrder
    world: World
    start: Cursor

    @override
    def __iter__(self) -> Iterator[Batch]:
        reader, readers = _reader(self.world)
        for batch in training_batches(self.data, self.order, self.config.augment, self.start, reader, readers):
            yield _decode_batch(batch, decode_training, self.config.image_size)


@dataclass
class _ValidationImages(IterableDataset[Batch]):
    data: PackedSet
    config: DataConfig
    world: World
    batch_size: int

    @override
    def __iter__(self) -> Iterator[Batch]:
        reader, readers = _reader(self.world)
        size, ratio = self.config.image_size, self.config.eval_crop_ratio
        for batch in validation_batches(self.data, size, ratio, self.batch_size, reader, readers):
            yield _decode_batch(batch, decode_evaluation, size)


@dataclass
class _StatisticsImages(IterableDataset[Batch]):
    data: PackedSet
    config: DataConfig
    seed: int
    batch_size: int
    batches: int
    world: World

    @override
    def __iter__(self) -> Iterator[Batch]:
        reader, readers = _reader(self.world)
        size, ratio = self.config.image_size, self.config.eval_crop_ratio
        for batch in statistics_batches(
            self.data, self.seed, self.batch_size, self.batches, size, ratio, reader, readers
        ):
            yield _decode_batch(batch, decode_evaluation, size)


def _reader(world: World) -> tuple[int, int]:
    """Loader process k of rank w reads positions w + W k mod W K: the rank's own, each once."""
    worker = get_worker_info()
    process, processes = (worker.id, worker.num_workers) if worker else (0, 1)
    return world.rank + world.size * process, world.size * processes


def _pins(world: World) -> bool:
    return torch.device(world.device).type == "cuda"


def _loader(images: IterableDataset[Batch], processes: int, pin_memory: bool) -> "DataLoader[Batch]":
    if not processes:
        return DataLoader(images, batch_size=None, pin_memory=pin_memory)
    # Not fork: the process has threads (Ray's, torch's) whose locks a fork would copy as they stand. The server that is
    # forked instead has imported torch, so that the processes need not do it each for itself; not scenerec, which a job
    # may bring along in a folder that the server does not know.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "torchvision.transforms.v2"])
    return DataLoader(
        images,
        batch_size=None,
        num_workers=processes,
        pin_memory=pin_memory,
        multiprocessing_context=context,
        persistent_workers=True,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _next_parts(shares: Iterator[Batch], count: int) -> list[Batch]:
    """The next sub-batch of each loader process: DataLoader takes them in turn."""
    try:
        return [part for _, part in zip(range(count), shares, strict=False)]
    except ScenerecError as error:
        # DataLoader wraps what a process raised in its traceback; the last line is the message.
        message = str(error).strip().splitlines()[-1]
        raise type(error)(message.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")) from None


def _interleave(parts: list[Batch], pin_memory: bool) -> Batch:
    """Puts the processes' positions back in order: the batch does not depend on how many decoded it.

    A single part is what the loader made of it; several are joined in memory of their own, page-locked if asked.
    """
    if len(parts) == 1:
        return parts[0]
    size = sum(len(part.labels) for part in parts)
    images = torch.empty((size, *parts[0].images.shape[1:]), dtype=torch.uint8, pin_memory=pin_memory)
    labels = torch.empty(size, dtype=torch.int64, pin_memory=pin_memory)
    for index, part in enumerate(parts):
        images[index :: len(parts)] = part.images
        labels[index :: len(parts)] = part.labels
    return Batch(images, labels)
