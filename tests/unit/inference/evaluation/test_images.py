"""The pixels that evaluation sees are those that training validates on."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from scenerec.config.data import DataConfig
from scenerec.data.coordinates import coordinates_array
from scenerec.data.manifest import Manifest, Shard, write_manifest
from scenerec.data.order import validation_range
from scenerec.data.packed_set import open_set
from scenerec.data.torch_input import validation_input
from scenerec.errors import DataError
from scenerec.inference.evaluation.images import Preparation, image_batches, read_samples
from scenerec.storage import open_storage
from scenerec.world import World

SIZE, RATIO = 24, 0.75


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_images_are_those_of_training(scenes: Path, rank: int) -> None:
    data, config = (
        open_set(f"{scenes}/val"),
        DataConfig.model_validate(
            {"train": f"{scenes}/train", "val": f"{scenes}/val", "image_size": SIZE, "eval_crop_ratio": RATIO}
        ),
    )
    expected = list(validation_input(data, config, World(rank, 3), 5, 0))
    mine = validation_range(data.manifest.samples, rank, 3)
    found = list(image_batches(data, mine, Preparation(SIZE, RATIO), 5, threads=2))
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours.images, theirs.images.permute(0, 2, 3, 1).numpy())
        assert np.array_equal(ours.labels, theirs.labels.numpy())


def test_ten_crops_are_places_of_the_resized_image_and_their_mirrors(scenes: Path) -> None:
    data = open_set(f"{scenes}/val")
    (ten,) = image_batches(data, range(4), Preparation(SIZE, RATIO, 10), 4)
    (one,) = image_batches(data, range(4), Preparation(SIZE, RATIO, 1), 4)
    (whole,) = image_batches(data, range(4), Preparation(32, 1.0), 4)  # resized to 32 px: square, nothing cropped
    crops = ten.images.reshape(4, 2, 5, SIZE, SIZE, 3)
    assert np.array_equal(crops[:, 1], crops[:, 0, :, :, ::-1])
    assert np.array_equal(crops[:, 0, 4], one.images)
    corners = [(0, 0), (0, 8), (8, 0), (8, 8)]
    for place, (top, left) in enumerate(corners):
        assert np.array_equal(crops[:, 0, place], whole.images[:, top : top + SIZE, left : left + SIZE])


def test_any_share_is_read_and_only_its_shards(scenes: Path) -> None:
    data = open_set(f"{scenes}/val")
    everything = [sample for _, sample in read_samples(data, range(36))]
    assert len(data.manifest.shards) > 2
    for share in (range(0, 1), range(7, 29), range(35, 36)):
        named = list(read_samples(data, share))
        assert [sample for _, sample in named] == everything[share.start : share.stop]
        assert all(name.endswith(f": {sample.key}") for name, sample in named)


def test_an_image_that_does_not_decode_is_named(tmp_path: Path, scenes: Path) -> None:
    (_, sample), *_ = read_samples(open_set(f"{scenes}/val"), range(1))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("cut.jpg", sample.image[:300]), ("cut.cls", b"0")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    content, target = buffer.getvalue(), open_storage(str(tmp_path))
    target.put("000000.tar", content)
    digest = hashlib.sha256(content).hexdigest()
    shard = Shard(key="000000.tar", size_bytes=len(content), sha256=digest, samples=1, class_counts={0: 1})
    write_manifest(target, Manifest(classes=("a",), shards=(shard,)))
    with pytest.raises(DataError, match=r"000000\.tar: cut: cannot be decoded"):
        list(image_batches(open_set(str(tmp_path)), range(1), Preparation(SIZE, RATIO), 1))


def test_coordinates_come_with_each_crop_of_their_image(located_scenes: Path, scenes: Path) -> None:
    data = open_set(f"{located_scenes}/val")
    (batch,) = image_batches(data, range(4), Preparation(SIZE, RATIO, 10), 4)
    told = coordinates_array([sample.coordinates for _, sample in read_samples(data, range(4))])
    assert batch.coordinates is not None
    assert np.array_equal(batch.coordinates, told.repeat(10, axis=0)) and not np.isnan(told).any()
    (unknown,) = image_batches(open_set(f"{scenes}/val"), range(4), Preparation(SIZE, RATIO), 4)
    assert unknown.coordinates is None
