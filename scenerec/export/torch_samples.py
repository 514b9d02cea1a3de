"""A few images of a packed set, spread over its classes, decoded as evaluation decodes them."""

from collections import defaultdict
from itertools import chain, zip_longest

import numpy as np

from scenerec.data.coordinates import coordinates_array
from scenerec.data.labels import Label, indices_of
from scenerec.data.packed_set import PackedSet
from scenerec.data.shard import Sample
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.evaluation.images import Preparation, prepare_sample
from scenerec.inference.evaluation.predictions import ImageBatch

_MOST_SHARDS = 4  # that are fetched: a set packed by scenerec is shuffled, each shard has nearly all classes


def sample_images(data: PackedSet, preprocessing: Preprocessing, count: int) -> ImageBatch:
    """Picks `count` images (fewer where there are fewer), the classes in turn; always the same ones.

    Of a multi-label set, images with the same labels are a class.

    Raises DataError or StorageError where the set cannot be read.
    """
    shards = len(data.manifest.shards)
    chosen = sorted({round(at) for at in np.linspace(0, shards - 1, min(shards, _MOST_SHARDS))})
    of_class: dict[Label, list[tuple[str, Sample]]] = defaultdict(list)
    for shard in chosen:
        for sample in data.read(shard):
            name = f"{data.storage.url}/{data.manifest.shards[shard].key}: {sample.key}"
            of_class[sample.label].append((name, sample))
    rounds = zip_longest(*(of_class[label] for label in sorted(of_class, key=indices_of)))
    taken = [entry for entry in chain.from_iterable(rounds) if entry is not None][:count]
    preparation = Preparation.of(preprocessing)
    images = np.concatenate([prepare_sample(sample, name, preparation) for name, sample in taken])
    labels = data.manifest.labelling.array([sample.label for _, sample in taken])
    return ImageBatch(images, labels, coordinates_array([sample.coordinates for _, sample in taken]))
