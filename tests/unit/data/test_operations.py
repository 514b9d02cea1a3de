"""Operations of RandAugment and TrivialAugment: torchvision's pixels, ranges and shares."""

from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from scenerec.config.augment import AugmentConfig, RandAugmentConfig
from scenerec.data.augment import View, training_views
from scenerec.data.operations import STEPS, Kind, Operation
from scenerec.data.torch_operations import apply_operations, magnitude
from tests.unit.data.test_pixels import scene

POLICIES = {
    wide: policy(interpolation=F.InterpolationMode.BILINEAR)
    for wide, policy in ((False, v2.RandAugment), (True, v2.TrivialAugmentWide))
}
NAMES = {kind: kind.name.title().replace("_", "") for kind in Kind}


def theirs(image: torch.Tensor, operation: Operation) -> torch.Tensor:
    """What torchvision makes of an image [3, side, side]."""
    policy = POLICIES[operation.wide]
    strengths, signed = policy._AUGMENTATION_SPACE[NAMES[operation.kind]]
    values = strengths(STEPS, *image.shape[1:])
    strength = 0.0 if values is None else float(values[operation.step])
    strength = -strength if signed and operation.negative else strength
    return policy._apply_image_or_video_transform(image, NAMES[operation.kind], strength, policy.interpolation, {})


def ours(pixels: np.ndarray, *operations: Operation) -> np.ndarray:
    changed = pixels.copy()
    apply_operations(changed, operations)
    return changed


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind != Kind.IDENTITY])
def test_an_operation_is_torchvisions_within_one_level(kind: Kind) -> None:
    pixels = scene(48, 48)
    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    for wide in (False, True):
        for step in (0, 9, 20, 30):
            for negative in (False, True):
                operation = Operation(kind, step, negative, wide)
                expected = theirs(image, operation).permute(1, 2, 0).numpy().astype(int)
                difference = np.abs(ours(pixels, operation) - expected)
                assert difference.max() <= 1, operation
                assert (difference > 0).mean() < 0.03, operation  # halves that are rounded the other way


def test_the_strengths_are_torchvisions() -> None:
    for wide, policy in POLICIES.items():
        space = policy._AUGMENTATION_SPACE
        assert list(space) == list(NAMES.values())
        for kind, name in NAMES.items():
            for side in (32, 224):
                values, signed = space[name][0](STEPS, side, side), space[name][1]
                found = [magnitude(Operation(kind, step, False, wide), side) for step in range(STEPS)]
                if values is None:
                    assert set(found) == {0}
                else:
                    assert found == [float(value) * (255 if kind == Kind.SOLARIZE else 1) for value in values]
                    assert magnitude(Operation(kind, 9, True, wide), side) == (-found[9] if signed else found[9])


@pytest.mark.parametrize("pixels", [np.zeros((5, 5, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8), scene(17, 17)])
def test_plain_and_tiny_images_are_taken(pixels: np.ndarray) -> None:
    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    for kind in range(1, len(Kind)):
        operation = Operation(Kind(kind), 20, False, True)
        expected = theirs(image, operation).permute(1, 2, 0).numpy().astype(int)
        assert np.abs(ours(pixels, operation) - expected).max() <= 1, operation


def test_operations_follow_one_another() -> None:
    pixels, first, second = scene(32, 32), *(Operation(kind, 9, False, False) for kind in (Kind.ROTATE, Kind.POSTERIZE))
    assert (ours(pixels, first, second) == ours(ours(pixels, first), second)).all()
    assert (ours(pixels) == pixels).all()


def views(count: int, **augment: object) -> list[View]:
    config = AugmentConfig.model_validate(augment)
    return training_views(config, 0, 0, np.arange(count), np.full(count, 64), np.full(count, 64))


def test_rand_augment_draws_each_operation_as_often_and_with_one_strength() -> None:
    drawn = views(4000, rand_augment={"num_ops": 3, "magnitude": 12})
    operations = [operation for view in drawn for operation in view.operations]
    shares = Counter(operation.kind for operation in operations)
    assert len(operations) == pytest.approx(12000 * 13 / 14, rel=0.01)  # one of the 14 does nothing
    assert set(shares) == set(Kind) - {Kind.IDENTITY}
    assert all(count == pytest.approx(12000 / 14, rel=0.12) for count in shares.values())
    assert {(operation.step, operation.wide) for operation in operations} == {(12, False)}
    assert np.mean([operation.negative for operation in operations]) == pytest.approx(0.5, abs=0.02)
    fewer = views(4000, rand_augment=RandAugmentConfig(num_ops=2, magnitude=12))
    assert all(len(view.operations) <= 2 for view in fewer)
    assert fewer[7].operations == drawn[7].operations[: len(fewer[7].operations)]


def test_trivial_augment_draws_one_operation_and_its_strength() -> None:
    drawn = views(4000, trivial_augment=True)
    assert {len(view.operations) for view in drawn} == {0, 1}
    assert np.mean([not view.operations for view in drawn]) == pytest.approx(1 / 14, abs=0.015)
    steps = [operation.step for view in drawn for operation in view.operations]
    assert set(steps) == set(range(STEPS))
    assert np.mean(steps) == pytest.approx(15, abs=0.5)
    kinds = [operation.kind for view in drawn for operation in view.operations]
    assert abs(np.corrcoef(kinds, steps)[0, 1]) < 0.06
