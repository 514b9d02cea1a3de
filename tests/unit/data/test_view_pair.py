"""Two views of each image: the first that of supervised training, both the same in both frameworks, decoded once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision  # noqa: F401  before TensorFlow

import tensorflow as tf  # isort: skip

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.config.views import VIEWS
from scenerec.data import picture, tf_input, torch_input
from scenerec.data.packed_set import open_set
from scenerec.data.reader import view_pair_reader
from scenerec.data.stream import Cursor, TrainingOrder, training_cursors
from scenerec.data.view_pair import PairBatch, view_pairs
from scenerec.world import World

ORDER = TrainingOrder(seed=3, lanes=12, global_batch_size=20, epochs=2)
START = Cursor(0, 3)
ALONE = World()


def config(scenes: Path, augment: AugmentConfig) -> DataConfig:
    return DataConfig(train=f"{scenes}/train", val=f"{scenes}/val", image_size=40, augment=augment)


def torch_pairs(scenes: Path, first: AugmentConfig, second: AugmentConfig, world: World = ALONE) -> list[PairBatch]:
    data = open_set(f"{scenes}/train")
    return list(torch_input.view_pair_input(data, config(scenes, first), second, ORDER, world, START, 2))


def pairs(first: AugmentConfig, second: AugmentConfig, count: int = 50) -> list:
    return view_pairs(first, second, 0, 0, np.arange(count), np.full(count, 300), np.full(count, 400))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "mocov3"])
def test_pairs_are_the_same_in_both_frameworks(scenes: Path, method: str) -> None:
    first = VIEWS[method].first
    second = VIEWS[method].second.model_copy(update={"trivial_augment": True, "erase": 0.5})
    ours = torch_pairs(scenes, first, second)
    data = open_set(f"{scenes}/train")
    theirs = list(tf_input.view_pair_input(data, config(scenes, first), second, ORDER, World(), START, 1))
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one.names == other.names == one.first.names == one.second.names
        for view, twin in ((one.first, other.first), (one.second, other.second)):
            assert np.array_equal(view.images.permute(0, 2, 3, 1), twin.images)
            assert np.array_equal(view.labels, twin.labels)
            found = torch_input.normalize(view.images, colors=view.colors).permute(0, 2, 3, 1)
            np.testing.assert_allclose(
                found, tf_input.normalize(twin.images, tf.float32, twin.colors), rtol=0, atol=2e-6
            )


def test_the_first_view_is_that_of_supervised_training(scenes: Path) -> None:
    first, second = VIEWS["mocov2"].first, AugmentConfig()
    data = open_set(f"{scenes}/train")
    alone = list(torch_input.training_input(data, config(scenes, first), ORDER, World(), START, 1))
    for pair, batch in zip(torch_pairs(scenes, first, second), alone, strict=True):
        assert pair.names == batch.names
        assert np.array_equal(pair.first.labels, batch.labels)
        assert batch.colors is not None and np.array_equal(pair.first.colors, batch.colors)
        assert np.array_equal(pair.first.images, batch.images)  # drawn scenes are small: nothing is decoded reduced
        assert not np.array_equal(pair.second.images, batch.images)


def test_no_view_depends_on_how_the_other_is_drawn() -> None:
    one, other = VIEWS["simclr"].first, VIEWS["mocov3"].second
    both = pairs(one, one)
    assert [pair.first for pair in both] == [pair.first for pair in pairs(one, other)]
    assert [pair.second for pair in both] == [pair.second for pair in pairs(other, one)]


def test_the_two_views_of_an_image_have_nothing_in_common() -> None:
    drawn = pairs(VIEWS["simclr"].first, VIEWS["simclr"].first, 4000)
    for field in ("top", "flip", "brightness", "contrast", "saturation", "hue", "gray", "blur"):
        sides = np.array([[getattr(pair.first, field), getattr(pair.second, field)] for pair in drawn], float)
        assert abs(np.corrcoef(sides.T)[0, 1]) < 0.06, field


def test_an_image_is_decoded_once(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    stored = picture.Picture.stored
    monkeypatch.setattr(picture.Picture, "stored", lambda *args: (decoded.append(1), stored(*args))[1])
    batches = torch_pairs(scenes, AugmentConfig(), AugmentConfig())
    assert len(decoded) == sum(len(batch.names) for batch in batches) > 0


def test_ranks_share_the_pairs_of_one(scenes: Path) -> None:
    views = VIEWS["mocov3"].first, VIEWS["mocov3"].second
    alone = torch_pairs(scenes, *views)
    shares = [torch_pairs(scenes, *views, world=World(rank, 3)) for rank in range(3)]
    steps = training_cursors(open_set(f"{scenes}/train").manifest.samples, ORDER, START)
    for index, (at, whole) in enumerate(zip(steps, alone, strict=True)):
        for rank in range(3):
            mine = slice((rank - at.step * ORDER.global_batch_size) % 3, None, 3)
            share = shares[rank][index]
            assert share.names == list(whole.names[mine])
            for view, part in ((whole.first, share.first), (whole.second, share.second)):
                assert np.array_equal(view.images[mine], part.images)
                assert view.colors is not None and np.array_equal(view.colors[mine], part.colors)


def test_a_rank_without_a_share_of_a_batch_has_an_empty_one(scenes: Path) -> None:
    order = TrainingOrder(seed=3, lanes=12, global_batch_size=2, epochs=1)
    data, views = open_set(f"{scenes}/train"), VIEWS["mocov3"]
    world, start = World(rank=2, size=3), Cursor()
    batch = next(torch_input.view_pair_input(data, config(scenes, views.first), views.second, order, world, start, 1))
    assert batch.first.images.shape == batch.second.images.shape == (0, 3, 40, 40)
    assert batch.second.colors is not None and batch.second.colors.shape == (0, 3, 5)


def test_colours_are_left_alone_where_neither_view_changes_them(scenes: Path) -> None:
    for batch in torch_pairs(scenes, AugmentConfig(), AugmentConfig(blur=0.5)):
        assert batch.first.colors is None and batch.second.colors is None


class Numbers:
    """A framework that keeps what it is given."""

    def allocator(self) -> Any:
        return lambda shape: np.empty(shape, np.uint8)

    def batch(self, images: np.ndarray, *others: Any) -> np.ndarray:
        return images


def test_both_views_lie_in_one_piece_each(scenes: Path) -> None:
    """So that they go to a device as they are."""
    data, plain = open_set(f"{scenes}/train"), AugmentConfig()
    reader = view_pair_reader(Numbers(), data, config(scenes, plain), plain, ORDER, World(), START, 1)
    batch = next(iter(reader))
    assert batch.first.flags.c_contiguous and batch.second.flags.c_contiguous
