"""A few images of a packed set, spread over its classes, decoded as evaluation decodes them."""

from collections import defaultdict
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from scenerec.data.augment import center_crop
from scenerec.data.packed_set import PackedSet, undecodable
from scenerec.data.shard import Sample
from scenerec.data.stream import image_size
from scenerec.data.torch_input import decode_evaluation
from scenerec.inference.bundles.bundle import Preprocessing

_MOST_SHARDS = 4  # that are fetched: a set packed by scenerec is shuffled, each shard has nearly all classes


class SampleImages(NamedTuple):
    """Prepared images and their labels."""

    images: np.ndarray
    """uint8 RGB [n, image_size, image_size, 3]"""
    labels: np.ndarray
    """int64 [n]"""


def sample_images(data: PackedSet, preprocessing: Preprocessing, count: int) -> SampleImages:
    """`count` images (fewer where there are fewer), the classes in turn; always the same ones.

    Raises DataError, StorageError.
    """
    shards = len(data.manifest.shards)
    chosen = sorted({round(at) for at in np.linspace(0, shards - 1, min(shards, _MOST_SHARDS))})
    of_class: dict[int, list[tuple[str, Sample]]] = defaultdict(list)
    for shard in chosen:
        for sample in data.read(shard):
            name = f"{data.storage.url}/{data.manifest.shards[shard].key}: {sample.key}"
            of_class[sample.label].append((name, sample))
    rounds = zip_longest(*(of_class[label] for label in sorted(of_class)))
    taken = [entry for entry in chain.from_iterable(rounds) if entry is not None][:count]
    images = np.stack([_decode(sample, name, preprocessing) for name, sample in taken])
    return SampleImages(images, np.array([sample.label for _, sample in taken], dtype=np.int64))


def _decode(sample: Sample, name: str, preprocessing: Preprocessing) -> np.ndarray:
    size = preprocessing.image_size
    crop = center_crop(*image_size(sample.image, name), size, preprocessing.eval_crop_ratio)
    try:
        return decode_evaluation(sample.image, crop, size).permute(1, 2, 0).numpy()
    except (RuntimeError, ValueError) as error:
        raise undecodable(name, error) from None
