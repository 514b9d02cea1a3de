"""BatchNorm's statistics, re-estimated while a run is too short for its running averages."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scenerec.checkpoint import LearnerState
from scenerec.config.train import TrainConfig
from scenerec.data.packed_set import open_set
from scenerec.data.stream import statistics_batches
from scenerec.data.torch_input import normalize, statistics_input
from scenerec.models import torch_model
from scenerec.training.batchnorm import PreciseBatchNorm, plan_precise_batchnorm, population, steps_to_forget
from scenerec.world import World
from tests.local_run import LEARNERS, open_job

MakeConfig = Callable[..., TrainConfig]
SAMPLE = PreciseBatchNorm(images=24, batch_size=8, until_step=110, passes=1)


@given(st.floats(1e-5, 0.9), st.integers(1, 8))
def test_the_initial_statistics_are_forgotten_when_they_weigh_next_to_nothing(momentum: float, updates: int) -> None:
    steps = steps_to_forget(momentum, updates)
    assert (1 - momentum) ** (updates * steps) <= 1e-5 * (1 + 1e-9)
    assert (1 - momentum) ** (updates * (steps - 1)) >= 1e-5 * (1 - 1e-9)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_batches_of_one_size_add_up_to_all_their_values(batches: int, size: int, channels: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(3, 2, (batches, size, channels))
    whole = values.reshape(-1, channels)
    moments = np.stack([values.mean(axis=1), values.var(axis=1)], axis=1)
    np.testing.assert_allclose(population(moments), [whole.mean(axis=0), whole.var(axis=0)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("arch", "blocks", "samples", "steps", "expected"),
    [
        ("resnet18", {}, 100, 6, PreciseBatchNorm(96, 32, 110, 1)),
        ("resnet18", {}, 20, 6, PreciseBatchNorm(20, 20, 110, 1)),
        ("resnet18", {}, 5000, 109, PreciseBatchNorm(512, 32, 110, 1)),
        ("resnet18", {}, 5000, 110, None),
        ("resnet18", {"checkpoint": {"every_steps": 109}}, 5000, 110, PreciseBatchNorm(512, 32, 110, 1)),
        ("resnet18", {"optimize": {"accumulate_steps": 2}}, 5000, 55, None),
        ("resnet18", {"optimize": {"precise_batchnorm": "always"}}, 5000, 110, PreciseBatchNorm(512, 32, None, 1)),
        ("resnet18", {"optimize": {"precise_batchnorm": "never"}}, 100, 6, None),
        ("resnet18", {"model": {"freeze": "backbone"}}, 100, 6, None),
        ("resnet18", {"optimize": {"ema_decay": 0.9}}, 5000, 110, PreciseBatchNorm(512, 32, None, 2)),
        ("resnet18", {"optimize": {"ema_decay": 0.9, "precise_batchnorm": "never"}}, 100, 6, None),
        ("mobilenet_v3_small", {}, 679, 21, PreciseBatchNorm(512, 32, 1146, 1)),
        ("mnasnet0_5", {}, 679, 21, PreciseBatchNorm(512, 32, 38_371, 1)),
        ("squeezenet1_1", {"optimize": {"precise_batchnorm": "always"}}, 100, 6, None),
    ],
)
def test_when_statistics_are_re_estimated(
    make_config: MakeConfig,
    arch: str,
    blocks: dict[str, Any],
    samples: int,
    steps: int,
    expected: PreciseBatchNorm | None,
) -> None:
    config = make_config(**{**blocks, "model": {"arch": arch, **blocks.get("model", {})}})
    assert plan_precise_batchnorm(config, samples, steps) == expected


def test_it_is_due_until_its_last_step_and_says_so() -> None:
    assert SAMPLE.is_due(109) and not SAMPLE.is_due(110)
    assert str(SAMPLE) == "statistics from 24 training images, at each validation and checkpoint before step 110"
    always = PreciseBatchNorm(96, 32, None, 2)
    assert always.is_due(10**9)
    assert str(always) == (
        "statistics from 96 training images, once for the weights and once for their averages, at each validation and "
        "checkpoint"
    )


def test_readers_share_out_whole_batches_of_one_sample(scenes: Path) -> None:
    data = open_set(f"{scenes}/train")
    whole = [batch.names for batch in statistics_batches(data, 7, 10, 9, 32, 0.875)]
    assert [len(names) for names in whole] == [10] * 9
    assert len({name for names in whole for name in names}) == 90
    for readers in (2, 4, 12):
        shares = [list(statistics_batches(data, 7, 10, 9, 32, 0.875, r, readers)) for r in range(readers)]
        assert [[batch.names for batch in share] for share in shares] == [whole[r::readers] for r in range(readers)]
    assert next(statistics_batches(data, 8, 10, 9, 32, 0.875)).names != whole[0]


@pytest.fixture
def fp64() -> Iterator[str]:
    """The precision; Keras's dtype policy, which its learner sets, is that of the whole process."""
    import keras

    yield "fp64"
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_both_frameworks_estimate_the_same(make_config: MakeConfig, fp64: str) -> None:
    """In float64, of the same weights; the first trained layer's are those of all pixels; nothing else moves."""
    blocks = {
        "model": {"arch": "resnet18", "freeze": ["layer2", "bn1"]},
        "optimize": {"precision": fp64, "ema_decay": 0.9},
        "data": {"image_size": 64, "eval_crop_ratio": 1.0},  # no resizing, which the frameworks round differently
    }
    states: dict[str, LearnerState] = {}
    for framework in LEARNERS:
        job = open_job(make_config(framework=framework, **blocks))
        learner = LEARNERS[framework](job, World())
        drawn = learner.state().model
        learner.estimate_statistics(SAMPLE)
        states[framework] = learner.state()
        assert learner.evaluate([]).samples == 0  # the averages' statistics are there for the time of it
        evaluated = learner.state().model
        assert all(np.array_equal(evaluated[name], states[framework].model[name]) for name in drawn)
    ours, theirs = states.values()
    statistics = {name for name in drawn if name.endswith(("running_mean", "running_var"))}
    trained = {name for name in statistics if not name.startswith(("layer2.", "bn1."))}
    assert {name for name in drawn if not np.array_equal(drawn[name], ours.model[name])} == trained
    for name in drawn:
        np.testing.assert_allclose(ours.model[name], theirs.model[name], rtol=1e-6, atol=1e-7, err_msg=name)
    assert ours.ema.keys() & statistics == theirs.ema.keys() & statistics == trained
    for state in (ours, theirs):  # before the first step the averages are the weights
        assert all(np.array_equal(state.ema[name], state.model[name]) for name in trained)

    config = make_config(**blocks).data
    images = torch.cat([b.images for b in statistics_input(open_set(config.train), config, 0, 8, 3, World(), 0)])
    network = torch_model.build("resnet18", 4, seed=0).double()
    with torch.no_grad():  # bn1 is frozen, and normalises by what it was drawn with
        pixels = network.maxpool(torch.relu(network.bn1.eval()(network.conv1(normalize(images, torch.float64)))))
        values = network.layer1[0].conv1(pixels).movedim(1, 0).flatten(1).numpy()
    np.testing.assert_allclose(ours.model["layer1.0.bn1.running_mean"], values.mean(axis=1), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours.model["layer1.0.bn1.running_var"], values.var(axis=1), rtol=1e-6, atol=1e-7)
