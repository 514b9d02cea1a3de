"""The images of an evaluation, decoded as training decodes those that it validates on: the same pixels."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from scenerec.data.coordinates import coordinates_array
from scenerec.data.labels import Labels
from scenerec.data.packed_image import evaluation_pixels, image_size, undecodable
from scenerec.data.packed_set import PackedSet
from scenerec.data.picture import PictureError
from scenerec.data.pool import default_processes
from scenerec.data.shard import Sample
from scenerec.inference.evaluation.crops import Crops, evaluation_crops, with_mirrors
from scenerec.inference.evaluation.predictions import ImageBatch
from scenerec.models.preprocessing import Interpolation, SeesPictures

_BATCHES_AHEAD = 2  # decoded, or on their way, while the model works


class Preparation(NamedTuple):
    """How an encoded image becomes what the network sees."""

    image_size: int
    """Side of the square that the network sees, in pixels."""
    crop_ratio: float
    """Share that the crop keeps: the short side is resized to image_size / crop_ratio before."""
    crops: Crops = 1
    """How many crops are taken of each image."""
    interpolation: Interpolation = "bilinear"
    """Filter by which it is resized."""

    @classmethod
    def of(cls, model: SeesPictures, crops: Crops = 1) -> "Preparation":
        """That of a predictor, or of what a bundle says of its preprocessing."""
        return cls(model.image_size, model.eval_crop_ratio, crops, model.interpolation)


def image_batches(
    data: PackedSet, samples: range, preparation: Preparation, batch_size: int, threads: int = 0
) -> Iterator[ImageBatch]:
    """Yields the images of `samples` (indices, in order of the manifest) by `batch_size`, the last batch smaller.

    Decoding runs ahead in `threads` threads; 0 takes one a core. Raises DataError, StorageError.
    """
    located = data.manifest.coordinates > 0
    labelling = data.manifest.labelling
    with ThreadPoolExecutor(threads or default_processes(), "decode") as pool:
        pending: deque[list[tuple[Sample, Future[np.ndarray]]]] = deque()
        try:
            for batch in _batched(read_samples(data, samples), batch_size):
                pending.append([(s, pool.submit(prepare_sample, s, name, preparation)) for name, s in batch])
                if len(pending) > _BATCHES_AHEAD:
                    yield _collect(pending.popleft(), preparation.crops, labelling, located)
            while pending:
                yield _collect(pending.popleft(), preparation.crops, labelling, located)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_samples(data: PackedSet, samples: range) -> Iterator[tuple[str, Sample]]:
    """Yields a name for messages and the sample, shard by shard, the next one fetched meanwhile.

    Raises DataError, StorageError.
    """
    ends = np.cumsum(data.manifest.shard_samples).tolist()
    starts = [0, *ends[:-1]]
    wanted = [i for i in range(len(ends)) if starts[i] < samples.stop and ends[i] > samples.start]
    with ThreadPoolExecutor(1, "fetch") as fetch:
        following = [fetch.submit(data.read, shard) for shard in wanted[:1]]
        for place, shard in enumerate(wanted):
            content = following.pop().result()
            following = [fetch.submit(data.read, after) for after in wanted[place + 1 : place + 2]]
            where = f"{data.storage.url}/{data.manifest.shards[shard].key}"
            first, last = max(samples.start - starts[shard], 0), samples.stop - starts[shard]
            for sample in content[first:last]:
                yield f"{where}: {sample.key}", sample


def prepare_sample(sample: Sample, name: str, preparation: Preparation) -> np.ndarray:
    """Decodes a sample, whose `name` is for messages: uint8 RGB [crops, image_size, image_size, 3].

    Raises DataError where the image does not decode.
    """
    size = preparation.image_size
    crops = evaluation_crops(*image_size(sample.image, name), size, preparation.crop_ratio, preparation.crops)
    try:
        decoded = np.stack(
            [evaluation_pixels(sample.image, crop, size, interpolation=preparation.interpolation) for crop in crops]
        )
    except PictureError as error:
        raise undecodable(name, error) from None
    return decoded if preparation.crops == 1 else with_mirrors(decoded)


def _collect(
    batch: list[tuple[Sample, Future[np.ndarray]]], crops: int, labelling: Labels, located: bool
) -> ImageBatch:
    images = np.concatenate([future.result() for _, future in batch])
    labels = labelling.array([sample.label for sample, _ in batch])
    coordinates = coordinates_array([sample.coordinates for sample, _ in batch]).repeat(crops, axis=0)
    return ImageBatch(images, labels, coordinates if located else None)


def _batched(samples: Iterator[tuple[str, Sample]], size: int) -> Iterator[list[tuple[str, Sample]]]:
    batch: list[tuple[str, Sample]] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
