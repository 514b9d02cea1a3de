"""Who is mixed with whom, and how much: by seed, epoch and position alone, as torchvision and numpy draw it."""

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerec.config.mix import MixConfig
from scenerec.data.mixing import Mixes, Pairing, draw_mixes, symmetric_beta
from scenerec.data.order import batch_positions, steps_per_epoch
from scenerec.data.stream import Cursor, TrainingOrder, training_cursors

SIZE = 32
BOTH = MixConfig(mixup=0.2, cutmix=1.0)

Place = tuple[int, int]
"""An epoch, and a position in it."""


def drawn(count: int = 4000, image_size: int = SIZE, seed: int = 0, epoch: int = 0, **fields: Any) -> Mixes[np.ndarray]:
    return draw_mixes(MixConfig(**fields), seed, epoch, np.arange(count), image_size)


def pairs_of(pairing: Pairing, start: Cursor, workers: int) -> dict[Place, Place]:
    """Who is whose partner in a run from `start` on, as its workers see it."""
    found: dict[Place, Place] = {}
    batch_size = pairing.order.global_batch_size
    for rank in range(workers):

        def begin(first: Cursor, rank: int = rank) -> Generator[list[Place], None, None]:
            for at in training_cursors(pairing.samples, pairing.order, first):
                yield [(at.epoch, int(g)) for g in batch_positions(at.step, batch_size, rank, workers)]

        for _, batch, partners in pairing.pairs(begin, start):
            found |= zip(batch, partners, strict=True)
    return found


@settings(max_examples=40)
@given(st.data())
def test_partners_are_those_of_the_batch_before_for_any_number_of_workers(data: st.DataObject) -> None:
    batch_size, epochs = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 3))
    samples = data.draw(st.integers(batch_size, 40))
    workers = data.draw(st.sampled_from([n for n in range(1, batch_size + 1) if batch_size % n == 0]))
    pairing = Pairing(BOTH, TrainingOrder(0, 1, batch_size, epochs), samples)
    whole = pairs_of(pairing, Cursor(), workers)
    run = [
        (at.epoch, at.step * batch_size + place)
        for at in training_cursors(samples, pairing.order)
        for place in range(batch_size)
    ]
    assert whole == dict(zip(run, [*run[:batch_size], *run[:-batch_size]], strict=True))
    # Another number of workers goes on from any step.
    steps = steps_per_epoch(samples, batch_size)
    start = Cursor(data.draw(st.integers(0, epochs - 1)), data.draw(st.integers(0, steps - 1)))
    rest = {place for place in run if place >= (start.epoch, start.step * batch_size)}
    assert pairs_of(pairing, start, batch_size) == {place: whole[place] for place in rest}


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 100), st.lists(st.integers(0, 10**9), max_size=8), st.integers(1, 300))
def test_an_images_mix_depends_on_its_position_alone(seed: int, epoch: int, positions: list[int], size: int) -> None:
    together = draw_mixes(BOTH, seed, epoch, np.array(positions, int), size)
    for index, position in enumerate(positions):
        alone = draw_mixes(BOTH, seed, epoch, np.array([position]), size)
        assert [each[index].tolist() for each in together] == [each[0].tolist() for each in alone]
    top, left, bottom, right = together.boxes.T
    assert ((top >= 0) & (top <= bottom) & (bottom <= size) & (left >= 0) & (left <= right) & (right <= size)).all()


def test_shares_and_rectangles_are_those_of_what_is_asked_for() -> None:
    for mixes in (drawn(mixup=0.0), drawn(mixup=0.2, cutmix=1.0, share=0.0)):
        assert (mixes.shares == 1).all() and (mixes.opacities == 1).all() and not mixes.boxes.any()
    blended = drawn(mixup=0.5)
    assert np.array_equal(blended.shares, blended.opacities) and not blended.boxes.any()
    cut = drawn(cutmix=1.0)
    assert (cut.opacities == 1).all()
    both = drawn(mixup=0.5, cutmix=1.0, share=0.6, cutmix_share=0.25)
    covered = (both.boxes[:, 2:] > both.boxes[:, :2]).all(1)
    assert np.mean(both.shares < 1) == pytest.approx(0.6, abs=0.03)
    assert np.mean(covered) / np.mean(both.shares < 1) == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(both.shares[~covered], both.opacities[~covered])


@pytest.mark.parametrize(("concentration", "size"), [(1.0, SIZE), (0.3, 7)])
def test_a_rectangles_partner_counts_by_its_area(concentration: float, size: int) -> None:
    mixes = drawn(cutmix=concentration, image_size=size)
    areas = np.prod(mixes.boxes[:, 2:] - mixes.boxes[:, :2], axis=1)
    np.testing.assert_allclose(mixes.shares, 1 - areas / size**2, atol=1e-7)


def test_rectangles_have_the_distribution_of_torchvision() -> None:
    import torch
    from torchvision.transforms.v2 import CutMix

    theirs = CutMix(alpha=1.0, num_classes=2)
    torch.manual_seed(0)
    image = torch.empty(1, 3, SIZE, SIZE)
    found = [theirs.make_params([image]) for _ in range(4000)]
    ours = drawn(cutmix=1.0)
    boxes = np.array([each["box"] for each in found])[:, [1, 0, 3, 2]]  # they have x first
    np.testing.assert_allclose(ours.boxes.mean(0), boxes.mean(0), rtol=0.05)
    np.testing.assert_allclose(ours.shares.mean(), np.mean([each["lam_adjusted"] for each in found]), atol=0.01)


@pytest.mark.parametrize("concentration", [0.1, 0.2, 1.0, 8.0])
def test_numbers_have_the_beta_distribution(concentration: float) -> None:
    """Of 50,000, at most 0.012 between the distribution functions: a random sample has more once in 1000."""
    rng = np.random.default_rng(0)
    ours = symmetric_beta(np.array(concentration), *rng.random((2, 50_000)))
    theirs = np.rint(rng.beta(concentration, concentration, 50_000) * 2**16) / 2**16
    at = np.linspace(0, 1, 101)
    apart = np.searchsorted(np.sort(ours), at, "right") - np.searchsorted(np.sort(theirs), at, "right")
    assert np.abs(apart).max() / 50_000 < 0.012


@given(
    st.floats(0.001, 1000),
    st.floats(0, 1, exclude_max=True, allow_subnormal=False),
    st.floats(0, 1, exclude_max=True, allow_subnormal=False),
)
def test_any_two_draws_make_a_number_that_float32_holds(concentration: float, first: float, second: float) -> None:
    value = symmetric_beta(np.array([concentration]), np.array([first]), np.array([second]))
    assert 0 <= value <= 1
    assert np.float32(value) == value and np.float32(1 - value) == 1 - value


# If one of these changes, no run that mixes can be resumed exactly.
FROZEN: dict[str, Any] = {
    "shares": [0.8085938, 0.765625, 0.9976959],
    "opacities": [1.0, 1.0, 0.9976959],
    "boxes": [[15, 15, 29, 29], [17, 0, 32, 16], [0, 0, 0, 0]],
}


def test_draws_stay_as_they_are() -> None:
    mixes = draw_mixes(BOTH, 1, 2, np.array([8, 9, 2]), SIZE)
    for field, values in FROZEN.items():
        np.testing.assert_allclose(getattr(mixes, field), values, rtol=1e-6)
