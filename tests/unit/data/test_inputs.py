"""The two input pipelines: the same batches, pixel for pixel, however many processes decode them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scenerec.config.train import AugmentConfig, DataConfig
from scenerec.data import tf_input, torch_input
from scenerec.data.packed_set import open_set
from scenerec.data.stream import Cursor, TrainingOrder, training_batches
from scenerec.world import World

ORDER = TrainingOrder(seed=3, lanes=12, global_batch_size=20, epochs=2)


def config(scenes: Path, **augment: Any) -> DataConfig:
    return DataConfig(train=f"{scenes}/train", val=f"{scenes}/val", image_size=40, augment=AugmentConfig(**augment))


def torch_arrays(batches: Iterable[torch_input.Batch]) -> list[tuple[np.ndarray, list[tuple[int, str]]]]:
    """Images NHWC, and the label and name of each."""
    return [
        (batch.images.permute(0, 2, 3, 1).numpy().astype(int), [*zip(batch.labels.tolist(), batch.names, strict=True)])
        for batch in batches
    ]


def tf_arrays(batches: Iterable[tf_input.Batch]) -> list[tuple[np.ndarray, list[tuple[int, str]]]]:
    """Images NHWC, and the label and name of each."""
    return [
        (batch.images.numpy().astype(int), [*zip(batch.labels.numpy().tolist(), batch.names, strict=True)])
        for batch in batches
    ]


def assert_equal(ours: list, theirs: list, most: int = 1) -> None:
    """No pixel differs by more than `most` levels, and by any only where float32 rounding decides a tie otherwise."""
    assert len(ours) == len(theirs) > 0
    assert [labels for _, labels in ours] == [labels for _, labels in theirs]
    differences = [np.abs(images - others) for (images, _), (others, _) in zip(ours, theirs, strict=True)]
    assert max(difference.max() for difference in differences) <= most
    assert np.mean([(difference > 0).mean() for difference in differences]) < 2e-3


AUGMENTATIONS: list[dict[str, Any]] = [
    {"crop_scale": (1, 1), "crop_ratio": (1, 1), "flip": False},
    {"crop_scale": (0.2, 1.0)},
    {"crop_scale": (0.2, 1.0), "color_jitter": 0.4},
]


def test_every_augmentation_is_compared() -> None:
    assert {field for augment in AUGMENTATIONS for field in augment} == set(AugmentConfig.model_fields)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_training_batches_are_the_same_in_both_frameworks(scenes: Path, augment: dict) -> None:
    data, settings = open_set(f"{scenes}/train"), config(scenes, **augment)
    ours = torch_arrays(torch_input.training_input(data, settings, ORDER, World(), Cursor(0, 2), 0))
    theirs = tf_arrays(tf_input.training_input(data, settings, ORDER, World(), Cursor(0, 2), 1))
    # A tie of the resizing is one level, which each of three factors up to 1.4 may raise: 1.4 ** 3 = 2.7.
    assert_equal(ours, theirs, most=3 if "color_jitter" in augment else 1)
    stream = training_batches(data, ORDER, settings.augment, Cursor(0, 2))
    assert [[name for _, name in named] for _, named in ours] == [batch.names for batch in stream]


@pytest.mark.parametrize("rank", [0, 2])
def test_validation_batches_are_the_same_in_both_frameworks(scenes: Path, rank: int) -> None:
    data, settings, world = open_set(f"{scenes}/val"), config(scenes), World(rank, 3)
    ours = torch_input.validation_input(data, settings, world, 5, 0)
    theirs = tf_input.validation_input(data, settings, world, 5, 1)
    for _ in range(2):  # each epoch anew
        assert_equal(torch_arrays(ours), tf_arrays(theirs))


@pytest.mark.parametrize("world", [World(), World(1, 2)])
def test_batches_do_not_depend_on_the_number_of_decoding_processes(scenes: Path, world: World) -> None:
    data, settings = open_set(f"{scenes}/train"), config(scenes)
    alone = torch_arrays(torch_input.training_input(data, settings, ORDER, world, Cursor(0, 1), 0))
    shared = torch_arrays(torch_input.training_input(data, settings, ORDER, world, Cursor(0, 1), 3))
    assert_equal(alone, shared, most=0)
    threads = tf_arrays(tf_input.training_input(data, settings, ORDER, world, Cursor(0, 1), 3))
    assert_equal(tf_arrays(tf_input.training_input(data, settings, ORDER, world, Cursor(0, 1), 1)), threads, most=0)


def test_pixels_are_normalised_alike(scenes: Path) -> None:
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    ours = torch_input.normalize(torch.from_numpy(pixels)).numpy()
    theirs = tf_input.normalize(tf.constant(pixels.transpose(0, 2, 3, 1))).numpy().transpose(0, 3, 1, 2)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours[:, 0], (pixels[:, 0] / 255 - 0.485) / 0.229, atol=1e-5)


def test_png_and_greyscale_images_become_rgb() -> None:
    import io

    from PIL import Image

    from scenerec.data.augment import center_crop

    picture = Image.effect_noise((50, 40), 60)
    for form in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        picture.save(buffer, form)
        crop = center_crop(40, 50, 32, 1.0)
        ours = torch_input.decode_evaluation(buffer.getvalue(), crop, 32).permute(1, 2, 0).numpy()
        theirs = tf_input.decode_evaluation(buffer.getvalue(), crop, 32).numpy()
        assert ours.shape == (32, 32, 3)
        assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_batches_for_a_gpu_are_asked_for_in_page_locked_memory(scenes: Path, processes: int) -> None:
    data, settings = open_set(f"{scenes}/val"), config(scenes)
    for device, pinned in (("cpu", False), ("cuda:0", True)):
        loader = torch_input.validation_input(data, settings, World(device=device), 5, processes)
        assert isinstance(loader, torch_input.DataLoader)
        assert loader.pin_memory is pinned


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and its driver")
@pytest.mark.parametrize("processes", [0, 1, 2])
def test_batches_for_a_gpu_are_page_locked_and_the_same(scenes: Path, processes: int) -> None:
    data, settings = open_set(f"{scenes}/train"), config(scenes)
    batches = list(torch_input.training_input(data, settings, ORDER, World(device="cuda:0"), Cursor(), processes))
    assert all(batch.images.is_pinned() and batch.labels.is_pinned() for batch in batches)
    unpinned = torch_input.training_input(data, settings, ORDER, World(), Cursor(), 0)
    assert_equal(torch_arrays(batches), torch_arrays(unpinned), most=0)


def test_more_decoding_processes_than_images_of_a_batch_give_the_same_batches(scenes: Path) -> None:
    data, settings = open_set(f"{scenes}/train"), config(scenes)
    small = TrainingOrder(seed=3, lanes=12, global_batch_size=2, epochs=1)
    alone = torch_arrays(torch_input.training_input(data, settings, small, World(), Cursor(0, 40), 0))
    shared = torch_arrays(torch_input.training_input(data, settings, small, World(), Cursor(0, 40), 3))
    assert_equal(alone, shared, most=0)
