"""The two input pipelines: the same batches, bit for bit, however many threads decode them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torchvision  # noqa: F401  before TensorFlow

import tensorflow as tf  # isort: skip
import torch

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.data import tf_input, torch_input
from scenerec.data.packed_set import open_set
from scenerec.data.stream import Cursor, TrainingOrder, training_batches
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing
from scenerec.world import World
from tests.unit.data.test_colors import drawn

OTHER = WeightPreprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bicubic", eval_crop_ratio=0.9)
ORDER = TrainingOrder(seed=3, lanes=12, global_batch_size=20, epochs=2)


class Arrays(NamedTuple):
    """A batch of either framework."""

    images: np.ndarray
    labels: list[int]
    names: list[str]
    normalised: np.ndarray
    coordinates: np.ndarray | None


def config(scenes: Path, **augment: Any) -> DataConfig:
    return DataConfig(train=f"{scenes}/train", val=f"{scenes}/val", image_size=40, augment=AugmentConfig(**augment))


def torch_arrays(batches: Iterable[torch_input.Batch], preprocessing: WeightPreprocessing = IMAGENET) -> list[Arrays]:
    return [
        Arrays(
            batch.images.permute(0, 2, 3, 1).numpy(),
            batch.labels.tolist(),
            list(batch.names),
            torch_input.normalize(batch.images, torch.float32, batch.colors, preprocessing).permute(0, 2, 3, 1).numpy(),
            None if batch.coordinates is None else batch.coordinates.numpy(),
        )
        for batch in batches
    ]


def tf_arrays(batches: Iterable[tf_input.Batch], preprocessing: WeightPreprocessing = IMAGENET) -> list[Arrays]:
    return [
        Arrays(
            batch.images.numpy(),
            batch.labels.numpy().tolist(),
            list(batch.names),
            tf_input.normalize(batch.images, tf.float32, batch.colors, preprocessing).numpy(),
            None if batch.coordinates is None else batch.coordinates.numpy(),
        )
        for batch in batches
    ]


def assert_same(ours: list[Arrays], theirs: list[Arrays]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert (one.labels, one.names) == (other.labels, other.names)
        assert np.array_equal(one.images, other.images)
        np.testing.assert_allclose(one.normalised, other.normalised, rtol=0, atol=1e-6)
        assert (one.coordinates is None) == (other.coordinates is None)
        if one.coordinates is not None and other.coordinates is not None:
            np.testing.assert_array_equal(one.coordinates, other.coordinates, strict=True)


AUGMENTATIONS: list[dict[str, Any]] = [
    {"crop_scale": (1, 1), "crop_ratio": (1, 1), "flip": False},
    {"crop_scale": (0.2, 1.0)},
    {"crop_scale": (0.2, 1.0), "color_jitter": 0.4},
    {"hue": 0.3},
    {"drop_coordinates": 0.5},
    {"color_jitter": 0.8, "saturation": 0.2, "color_share": 0.5, "gray": 0.3},
    {"blur": 0.5, "blur_sigma": (0.1, 4.0), "solarize": 0.5},
    {"rand_augment": {"num_ops": 2, "magnitude": 20}, "erase": 0.5, "erase_mode": "pixel"},
    {"trivial_augment": True, "erase": 0.5, "erase_scale": (0.1, 0.2), "erase_ratio": (0.5, 2.0)},
]


def test_every_augmentation_is_compared() -> None:
    assert {field for augment in AUGMENTATIONS for field in augment} == set(AugmentConfig.model_fields)


@pytest.mark.slow
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_training_batches_are_the_same_in_both_frameworks(scenes: Path, augment: dict) -> None:
    data, settings = open_set(f"{scenes}/train"), config(scenes, **augment)
    ours = torch_arrays(torch_input.training_input(data, settings, ORDER, World(), Cursor(0, 2), 1))
    theirs = tf_arrays(tf_input.training_input(data, settings, ORDER, World(), Cursor(0, 2), 2))
    assert_same(ours, theirs)
    stream = training_batches(data, ORDER, settings.augment, Cursor(0, 2))
    assert [batch.names for batch in ours] == [batch.names for batch in stream]


@pytest.mark.parametrize("rank", [0, 2])
def test_validation_batches_are_the_same_in_both_frameworks(scenes: Path, rank: int) -> None:
    data, settings, world = open_set(f"{scenes}/val"), config(scenes), World(rank, 3)
    ours = torch_input.validation_input(data, settings, world, 5, 1)
    theirs = tf_input.validation_input(data, settings, world, 5, 1)
    for _ in range(2):  # each epoch anew
        assert_same(torch_arrays(ours), tf_arrays(theirs))


def test_another_preprocessing_is_the_same_in_both_frameworks(scenes: Path) -> None:
    """By its filter, its mean and deviation, and its crop; the colours change as they do by ImageNet's."""
    settings = config(scenes, color_jitter=0.4, solarize=0.5)
    other = settings.prepared_by(OTHER)
    training, validation = open_set(f"{scenes}/train"), open_set(f"{scenes}/val")
    ours = torch_arrays(torch_input.training_input(training, other, ORDER, World(), Cursor(1, 0), 1), OTHER)
    theirs = tf_arrays(tf_input.training_input(training, other, ORDER, World(), Cursor(1, 0), 1), OTHER)
    assert_same(ours, theirs)
    bicubic = settings.model_copy(update={"interpolation": "bicubic"})
    (usual, *_) = torch_arrays(torch_input.training_input(training, bicubic, ORDER, World(), Cursor(1, 0), 1))
    assert np.array_equal(usual.images, ours[0].images)
    levels = usual.normalised * IMAGENET.std_levels + IMAGENET.mean_levels
    np.testing.assert_allclose(ours[0].normalised, (levels - 127.5) / 63.75, atol=1e-5)

    ours = torch_arrays(torch_input.validation_input(validation, other, World(), 40, 1), OTHER)
    assert_same(ours, tf_arrays(tf_input.validation_input(validation, other, World(), 40, 1), OTHER))
    (usual,) = torch_arrays(torch_input.validation_input(validation, settings, World(), 40, 1))
    assert not np.array_equal(usual.images, ours[0].images)
    (batch,) = image_batches(validation, range(len(usual.labels)), Preparation(40, 0.9, 1, "bicubic"), 40)
    assert np.array_equal(ours[0].images, batch.images)
    statistics = torch_arrays(torch_input.statistics_input(training, other, 3, 20, 1, World(), 1), OTHER)
    assert_same(statistics, tf_arrays(tf_input.statistics_input(training, other, 3, 20, 1, World(), 1), OTHER))


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("colored", [False, True])
def test_pixels_are_normalised_alike(size: int, colored: bool) -> None:
    """Four pixels at a time, and one."""
    pixels, colors = drawn(2, size)
    encoded = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(colors) if colored else None
    ours = torch_input.normalize(encoded[0], colors=encoded[1])
    assert ours.is_contiguous(memory_format=torch.channels_last)
    theirs = tf_input.normalize(tf.constant(pixels), colors=tf.constant(colors) if colored else None).numpy()
    exact = torch_input.normalize(encoded[0], torch.float64, encoded[1])
    for found in (theirs, exact.permute(0, 2, 3, 1)):
        np.testing.assert_allclose(ours.permute(0, 2, 3, 1), found, rtol=0, atol=1e-6)
    if not colored:
        np.testing.assert_allclose(ours[:, 0], (pixels[..., 0] / 255 - 0.485) / 0.229, atol=1e-6)


def test_colours_do_not_depend_on_torchs_threads_and_leave_them_as_they_were() -> None:
    pixels, colors = drawn(3, 224)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
            found.append(torch_input.normalize(images, colors=torch.from_numpy(colors)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and its driver")
def test_batches_for_a_gpu_are_page_locked_and_the_same(scenes: Path) -> None:
    data, settings = open_set(f"{scenes}/train"), config(scenes, color_jitter=0.4)
    batches = list(torch_input.training_input(data, settings, ORDER, World(device="cuda:0"), Cursor(), 2))
    assert all(tensor is not None and tensor.is_pinned() for batch in batches for tensor in batch[:3])
    assert_same(
        torch_arrays(batches), torch_arrays(torch_input.training_input(data, settings, ORDER, World(), Cursor(), 2))
    )


def test_coordinates_are_the_same_in_both_frameworks_and_of_the_right_images(located_scenes: Path) -> None:
    data, settings = open_set(f"{located_scenes}/train"), config(located_scenes, drop_coordinates=0.3)
    known = {
        f"{data.shard_url(index)}: {sample.key}": np.array(sample.coordinates, np.float32)
        for index in range(len(data.manifest.shards))
        for sample in data.read(index)
    }
    ours = torch_arrays(torch_input.training_input(data, settings, ORDER, World(), Cursor(), 1, coordinates=True))
    assert_same(ours, tf_arrays(tf_input.training_input(data, settings, ORDER, World(), Cursor(), 1, coordinates=True)))
    told = [row for batch in ours if batch.coordinates is not None for row in batch.coordinates]
    names = [name for batch in ours for name in batch.names]
    hidden = [bool(np.isnan(row).all()) for row in told]
    assert len(told) == len(names) == 200
    assert all((row == known[name]).all() for row, name, gone in zip(told, names, hidden, strict=True) if not gone)
    assert 30 < sum(hidden) < 90
    of_evaluation: list[tuple[Any, Any]] = [
        (torch_input.validation_input(data, settings, World(), 20, 1, True), None),
        (torch_input.statistics_input(data, settings, 0, 10, 3, World(), 1, True), None),
        (None, tf_input.validation_input(data, settings, World(), 20, 1, True)),
        (None, tf_input.statistics_input(data, settings, 0, 10, 3, World(), 1, True)),
    ]
    for of_torch, of_tf in of_evaluation:
        for batch in torch_arrays(of_torch) if of_torch else tf_arrays(of_tf):
            assert batch.coordinates is not None
            np.testing.assert_array_equal(batch.coordinates, [known[name] for name in batch.names])


def test_batches_have_coordinates_only_where_they_are_asked_for(located_scenes: Path, scenes: Path) -> None:
    asked = torch_input.validation_input(open_set(f"{scenes}/val"), config(scenes), World(), 20, 1, True)
    assert all(np.isnan(batch.coordinates).all() for batch in torch_arrays(asked) if batch.coordinates is not None)
    unasked = torch_input.validation_input(open_set(f"{located_scenes}/val"), config(located_scenes), World(), 20, 1)
    assert [batch.coordinates for batch in unasked] == [None, None]
