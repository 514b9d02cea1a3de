"""Mixed images and targets: equal in both frameworks, and those of torchvision; runs that mix, killed and elastic."""

from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.mix import MixConfig
from scenerec.config.train import TrainConfig
from scenerec.data import tf_input, torch_input
from scenerec.data.mixing import Mixes, draw_mixes
from scenerec.data.stream import Cursor
from scenerec.errors import CheckpointError
from scenerec.training import tf_mixing, torch_mixing
from scenerec.training.loop import train
from scenerec.training.preflight import check_job
from scenerec.training.run_folder import RunFolder
from scenerec.world import World
from tests.conftest import MakeConfig
from tests.local_run import LEARNERS, make_learner, open_job, train_here
from tests.matrix import keep

import tensorflow as tf  # isort: skip

COUNT, SIZE, CLASSES = 6, 8, 5
BOTH = {"mixup": 0.5, "cutmix": 1.0}


def mixed(mixes: Mixes[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pixels NCHW, targets and weights of drawn images with the image before, by torch and by TensorFlow."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.normal(size=(COUNT, 3, SIZE, SIZE)), np.arange(COUNT) % CLASSES
    others, weights = np.roll(pixels, 1, axis=0), np.arange(1.0, CLASSES + 1)
    ours = torch_input.Partners(
        torch.empty(0), torch.from_numpy(labels).roll(1), None, Mixes(*map(torch.from_numpy, mixes))
    )
    theirs = tf_input.Partners(tf.constant(0), tf.constant(np.roll(labels, 1)), None, Mixes(*map(tf.constant, mixes)))
    hwc = tf.constant(pixels.transpose(0, 2, 3, 1)), tf.constant(others.transpose(0, 2, 3, 1))
    return [
        (
            torch_mixing.mixed_pixels(torch.from_numpy(pixels), torch.from_numpy(others), ours).numpy(),
            torch_mixing.mixed_targets(torch.from_numpy(labels), ours, CLASSES, torch.float64).numpy(),
            torch_mixing.mixed_weights(torch.from_numpy(weights), torch.from_numpy(labels), ours).numpy(),
        ),
        (
            tf_mixing.mixed_pixels(*hwc, theirs).numpy().transpose(0, 3, 1, 2),
            tf_mixing.mixed_targets(tf.constant(labels), theirs, CLASSES, tf.float64).numpy(),
            tf_mixing.mixed_weights(tf.constant(weights), tf.constant(labels), theirs).numpy(),
        ),
    ]


def test_both_frameworks_mix_alike() -> None:
    mixes = draw_mixes(MixConfig(**BOTH), 3, 0, np.arange(COUNT), SIZE)
    assert mixes.boxes.any() and (mixes.opacities < 1).any()
    ours, theirs = mixed(mixes)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    _, targets, weights = ours
    np.testing.assert_allclose(targets.sum(1), 1)
    np.testing.assert_allclose(weights, targets @ np.arange(1.0, CLASSES + 1))


@pytest.mark.parametrize("transform", [v2.MixUp, v2.CutMix])
def test_pixels_and_targets_are_those_of_torchvision(transform: Callable[..., Any]) -> None:
    theirs = transform(num_classes=CLASSES)
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(COUNT, 3, SIZE, SIZE)))
    labels = torch.arange(COUNT) % CLASSES
    x1, y1, x2, y2 = box = (2, 1, 7, 4)
    cuts, share = transform is v2.CutMix, 1 - 15 / SIZE**2
    params = {"labels": labels, "batch_size": COUNT, "lam": share, "box": box, "lam_adjusted": share}
    mixes = Mixes(
        shares=np.full(COUNT, share, np.float32),
        opacities=np.full(COUNT, 1 if cuts else share, np.float32),
        boxes=np.tile(np.array((y1, x1, y2, x2) if cuts else (0, 0, 0, 0), np.int32), (COUNT, 1)),
    )
    found_pixels, found_targets, _ = mixed(mixes)[0]
    np.testing.assert_allclose(found_pixels, theirs.transform(pixels, params), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found_targets, theirs.transform(labels, params), rtol=0, atol=1e-7)


def test_several_labels_are_mixed_as_they_are() -> None:
    labels = torch.tensor([[1, 1, 0], [0, 1, 1]])
    mixes = Mixes(torch.tensor([0.25, 1.0]), torch.ones(2), torch.zeros(2, 4))
    partners = torch_input.Partners(torch.empty(0), labels.flip(0), None, mixes)
    found = torch_mixing.mixed_targets(labels, partners, 3, torch.float64)
    assert found.tolist() == [[0.25, 1.0, 0.75], [0.0, 1.0, 1.0]]


def test_a_batch_has_the_one_before_for_partners_in_both_frameworks(make_config: MakeConfig) -> None:
    config = make_config(data={"augment": {"color_jitter": 0.4}}, optimize={"mix": BOTH})
    job, mix = open_job(config), MixConfig(**BOTH)
    first = Cursor(0, 5)  # the last of its epoch
    data, world = job.train, World()
    ours, theirs = (
        list(islice(each.training_input(data, config.data, job.order, world, first, 1, mix=mix), 3))
        for each in (torch_input, tf_input)
    )
    alone = list(islice(torch_input.training_input(data, config.data, job.order, world, Cursor(0, 4), 1), 3))
    for batch, twin, before in zip(ours, theirs, alone, strict=True):
        assert batch.partners is not None and twin.partners is not None
        assert torch.equal(batch.partners.images, before.images) and torch.equal(batch.partners.labels, before.labels)
        np.testing.assert_array_equal(batch.partners.images.permute(0, 2, 3, 1), twin.partners.images)
        for one, other in zip(batch.partners.mixes, twin.partners.mixes, strict=True):
            np.testing.assert_array_equal(one, other)


class KilledError(Exception):
    """Instead of a process's end."""


def fail_after(batches: Iterator[Any], count: int) -> Generator[Any, None, None]:
    yield from islice(batches, count)
    raise KilledError


def last_state(config: TrainConfig) -> LearnerState:
    folder = RunFolder(config.run_url).checkpoints
    return load_checkpoint(folder, list_checkpoints(folder)[-1]).learner


SETTINGS: dict[str, Any] = {
    "data": {"augment": {"color_jitter": 0.4}},
    "model": {"arch": "mobilenet_v3_small"},  # with dropout
    "optimize": {"mix": BOTH, "label_smoothing": 0.1, "class_weights": {"beach": 3}, "ema_decay": 0.9},
}


@pytest.mark.slow
@pytest.mark.parametrize("framework", keep({"torch"}, LEARNERS))
def test_a_killed_run_resumes_bit_equal(make_config: MakeConfig, framework: str) -> None:
    make = partial(make_config, framework=framework, checkpoint={"every_steps": 2}, **SETTINGS)
    whole, killed = make(name="whole"), make(name="killed")
    train_here(whole)
    job = open_job(killed)
    learner = LEARNERS[framework](job, World())
    batches = learner.training_batches
    learner.training_batches = lambda start: fail_after(batches(start), 7)  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        train(job, World(), learner, lambda event: None, lambda metrics: None)
    with pytest.raises(CheckpointError, match=r"another optimize\.mix"):
        check_job(killed.model_copy(update={"optimize": killed.optimize.model_copy(update={"mix": None})}))
    train_here(killed)
    ours, theirs = last_state(whole), last_state(killed)
    for kind in ("model", "ema"):
        for name, array in getattr(ours, kind).items():
            np.testing.assert_array_equal(array, getattr(theirs, kind)[name], err_msg=name)


CASES: list[Any] = [
    {"optimize": {"accumulate_steps": 2}},
    pytest.param(
        {
            "optimize": {"loss": "bce", "bce_threshold": 0.2, "class_weights": "none"},
            "model": {"arch": "efficientnet_b0", "drop_path": 0.5},
        },
        marks=pytest.mark.matrix,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("blocks", CASES, ids=str)
def test_both_frameworks_learn_alike_from_mixed_images(make_config: MakeConfig, blocks: dict[str, Any]) -> None:
    """With dropout, and in one case stochastic depth."""
    optimize = {**SETTINGS["optimize"], **blocks["optimize"], "precision": "fp64"}
    losses = []
    for framework in LEARNERS:
        learner = make_learner(
            open_job(make_config(framework=framework, **{**SETTINGS, **blocks, "optimize": optimize}))
        )
        for batch in islice(learner.training_batches(Cursor()), 3):
            learner.train_step(batch, 0.02)
        losses.append(learner.take_loss())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_what_is_mixed_has_no_place(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"optimize\.mix: two images have two places"):
        make_config(optimize={"mix": BOTH}, model={"geo": {}})
