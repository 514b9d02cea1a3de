"""Learning-rate schedules against torch's, and their properties."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.optimize import OptimizeConfig
from scenerec.config.pretrain import MethodConfig
from scenerec.training.schedules import (
    PlateauState,
    encoder_momentum,
    fitting_momentum,
    learning_rate,
    share_of_first_weights,
)


def config(**fields: object) -> OptimizeConfig:
    return OptimizeConfig.model_validate({"epochs": 10, "global_batch_size": 8, "lr": 0.4, **fields})


def rates(optimize: OptimizeConfig, steps_per_epoch: int) -> list[float]:
    return [learning_rate(step, steps_per_epoch, optimize) for step in range(optimize.epochs * steps_per_epoch)]


def torch_rates(optimize: OptimizeConfig, scheduler: type, steps: int, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=optimize.lr)
    schedule = scheduler(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_cosine_is_torchs() -> None:
    optimize = config(schedule="cosine", min_lr=0.01)
    expected = torch_rates(optimize, torch.optim.lr_scheduler.CosineAnnealingLR, 70, T_max=70, eta_min=0.01)
    assert rates(optimize, 7) == pytest.approx(expected, rel=1e-6)


def test_cosine_after_the_warm_up_is_torchs_over_what_is_left() -> None:
    optimize = config(schedule="cosine", min_lr=0.01, warmup_epochs=2)
    expected = torch_rates(optimize, torch.optim.lr_scheduler.CosineAnnealingLR, 57, T_max=56, eta_min=0.01)
    found = [learning_rate(step, 7, optimize) for step in range(80)]
    assert found[:14] == pytest.approx([0.4 * (step + 1) / 14 for step in range(14)])
    assert found[14:71] == pytest.approx(expected, rel=1e-6)
    assert found[70:] == pytest.approx([0.01] * 10)  # at its end, and beyond


def test_cosine_falls_in_a_single_step() -> None:
    optimize = config(schedule="cosine", min_lr=0.01, epochs=1)
    assert [learning_rate(step, 1, optimize) for step in range(2)] == pytest.approx([0.4, 0.01])


@pytest.mark.parametrize("factor", [1, 2])
def test_restarts_are_torchs(factor: int) -> None:
    optimize = config(schedule="restarts", min_lr=0.01, restart_epochs=2, restart_factor=factor)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    expected = torch_rates(optimize, scheduler, 70, T_0=14, T_mult=factor, eta_min=0.01)
    assert rates(optimize, 7) == pytest.approx(expected, rel=1e-6)


def test_restarts_begin_after_the_warm_up() -> None:
    optimize = config(schedule="restarts", warmup_epochs=2, restart_epochs=1.5)
    found = rates(optimize, 8)
    assert [step for step, rate in enumerate(found) if rate == 0.4] == [15, 16, 28, 40, 52, 64, 76]
    assert all(after <= before for before, after in pairwise(found[16:28]))


def test_step_is_torchs() -> None:
    optimize = config(schedule="step", step_epochs=[3, 6])
    expected = torch_rates(optimize, torch.optim.lr_scheduler.MultiStepLR, 70, milestones=[21, 42], gamma=0.1)
    assert rates(optimize, 7) == pytest.approx(expected)


def test_plateau_is_torchs() -> None:
    optimize = config(schedule="plateau", plateau_patience=2, plateau_factor=0.5, min_lr=0.06)
    losses = [5, 4, 4, 4, 4, 3, 3.5, 3.2, 3.1, 3.05, 3.0, 3.0, 3.0, 3.0, 3.0]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=optimize.lr)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=0, min_lr=0.06)
    state = PlateauState()
    for loss in losses:
        schedule.step(loss)
        state = state.after_epoch(loss, optimize)
        assert learning_rate(0, 7, optimize, state) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert state.factor < 0.5


@given(
    st.sampled_from(["cosine", "step", "constant", "plateau"]),
    st.floats(0, 4.9),
    st.integers(1, 50),
)
def test_warm_up_rises_to_the_peak_and_nothing_exceeds_it(
    schedule: str, warmup_epochs: float, steps_per_epoch: int
) -> None:
    optimize = config(schedule=schedule, warmup_epochs=warmup_epochs)
    found = rates(optimize, steps_per_epoch)
    warmup_steps = round(warmup_epochs * steps_per_epoch)
    assert found[:warmup_steps] == sorted(found[:warmup_steps])
    assert found[warmup_steps:] == sorted(found[warmup_steps:], reverse=True)
    assert max(found) == pytest.approx(optimize.lr)
    assert min(found) > 0 if schedule != "cosine" else min(found) >= 0


@given(st.integers(1, 1000), st.floats(0, 1))
def test_an_encoders_momentum_rises_to_one(steps: int, first: float) -> None:
    found = [encoder_momentum(step, steps, first) for step in range(steps + 1)]
    assert found[0] == pytest.approx(first) and found[-1] == 1
    assert found == sorted(found)
    assert encoder_momentum(2 * steps, steps, first) == 1


def test_an_encoders_momentum_is_mocos_half_way() -> None:
    assert encoder_momentum(50, 100, 0.99) == pytest.approx(0.995)


@given(steps=st.integers(100, 3000), method=st.sampled_from(["mocov2", "mocov3"]))
def test_with_the_fitting_momentum_little_of_the_first_weights_remains(steps: int, method: str) -> None:
    published = MethodConfig.model_validate({"method": method})
    momentum = fitting_momentum(published, steps)
    assert 0.9 <= momentum < 1
    assert 1e-4 < share_of_first_weights(published.model_copy(update={"momentum": momentum}), steps) < 0.05


def test_what_remains_of_the_first_weights() -> None:
    moco = MethodConfig.model_validate({"method": "mocov2"})
    assert share_of_first_weights(moco, 400) == pytest.approx(0.999**400)
    assert fitting_momentum(moco, 400) == pytest.approx(0.99)
    rising = MethodConfig.model_validate({"method": "mocov3", "momentum": 0.9})
    assert share_of_first_weights(rising, 2) == pytest.approx(0.9 * 0.95)
    assert fitting_momentum(rising, 2) == 0.9
    assert share_of_first_weights(MethodConfig.model_validate({"method": "simclr"}), 1) == 0
