"""Ways of `tests.bench.data` in torch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import simplejpeg
import torch
import webdataset
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.data.packed_set import open_set
from scenerec.data.stream import Cursor, TrainingOrder
from scenerec.data.torch_input import normalize, training_input
from scenerec.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from scenerec.world import World
from tests.bench.data_peers.tensors import counted, decoded, on_tensors, processes
from tests.bench.data_ways import BATCH, BUCKET, SIZE, Work


def ours_torch(work: Work) -> Iterator[int]:
    """This library's input pipeline and normalisation."""
    yield from _ours(work, f"{work.folder}/packed")


def ours_torch_s3(work: Work) -> Iterator[int]:
    """The same from a SeaweedFS of this machine, whose own time is not counted."""
    yield from _ours(work, f"s3://{BUCKET}/{Path(work.folder).name}")


def _ours(work: Work, packed: str) -> Iterator[int]:
    torch.set_num_threads(work.cores)
    data = open_set(packed)
    augment = AugmentConfig(color_jitter=work.jitter)
    config = DataConfig(train=data.storage.url, val=data.storage.url, image_size=SIZE, augment=augment)
    order = TrainingOrder(work.seed, lanes=12, global_batch_size=BATCH, epochs=1)
    for batch in training_input(data, config, order, World(), Cursor(), work.cores):
        if work.jitter:
            normalize(batch.images, colors=batch.colors)
        yield len(batch.labels)


def imagefolder_pil(work: Work) -> Iterator[int]:
    """torchvision's ImageFolder with its first transforms, on Pillow."""
    yield from _loaded(ImageFolder(f"{work.folder}/images/train", _on_pillow(work)), work, shuffle=True)


def webdataset_pil(work: Work) -> Iterator[int]:
    """The webdataset package on our shards, with the same transforms."""
    shards = [str(file) for file in sorted(Path(work.folder, "packed").rglob("*.tar"))]
    images = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).shuffle(256, seed=work.seed)
    yield from _loaded(images.decode("pil").to_tuple("jpg", "cls").map_tuple(_on_pillow(work), int), work)


def torchvision_v2(work: Work) -> Iterator[int]:
    """torchvision's ImageFolder with its own decoder and its second transforms, on tensors."""
    yield from _loaded(ImageFolder(f"{work.folder}/images/train", on_tensors(work), loader=decoded), work, shuffle=True)


def _on_pillow(work: Work) -> transforms.Compose:
    steps: list[Any] = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
    if not work.jitter:
        return transforms.Compose([*steps, transforms.PILToTensor()])
    steps += [transforms.ColorJitter(work.jitter, work.jitter, work.jitter), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])


def decode_only(work: Work) -> Iterator[int]:
    """libjpeg-turbo alone: no way that decodes whole images can be faster."""
    files = [file.read_bytes() for file in sorted(Path(work.folder, "images").rglob("*.jpg"))]
    with ThreadPoolExecutor(work.cores) as threads:
        yield sum(1 for _ in threads.map(lambda content: simplejpeg.decode_jpeg(content, "RGB"), files))


def _loaded(images: Any, work: Work, shuffle: bool | None = None) -> Iterator[int]:
    """By DataLoader, in processes where there is more than one core."""
    workers = processes(work)
    yield from counted(DataLoader(images, BATCH, shuffle=shuffle, num_workers=workers))
