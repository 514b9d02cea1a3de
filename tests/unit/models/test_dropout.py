"""Dropout that draws by sample: the same in both frameworks, for any share of the samples, and uniform."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from scenerec.models import torch_dropout
from scenerec.models.keras_twin import builder, drop_draws

import tensorflow as tf  # isort: skip

KEYS = np.random.default_rng(0).integers(2**32, size=200)


class Twice(nn.Module):
    """A network with dropout of elements, of an image and of features, and a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels, self.rows, self.features = nn.Dropout(0.3), StochasticDepth(0.5, "row"), nn.Dropout(0.6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.rows(self.rows(self.pixels(x)))
        return self.features(torch.flatten(x, 1))


def by_torch(images: np.ndarray, keys: np.ndarray) -> np.ndarray:
    network = Twice().train()
    draws = torch_dropout.draw_by_sample(network)
    draws.begin(torch.from_numpy(keys))
    return network(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()


@pytest.mark.parametrize("compiled", [False, True])
def test_both_frameworks_drop_the_same(compiled: bool) -> None:
    images = np.random.default_rng(1).normal(size=(len(KEYS), 4, 4, 3)).astype(np.float32)
    twin = builder.twin(Twice(), 4, name="twin")

    def call(pixels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        with drop_draws.drop_keys(keys):
            return twin(pixels, training=True)

    function = tf.function(call, jit_compile=True) if compiled else call
    theirs = function(tf.constant(images), tf.constant(KEYS)).numpy()
    ours = by_torch(images, KEYS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert 0.05 < np.mean(ours != 0) < 0.09  # 0.7 * 0.5 * 0.5 * 0.4


@pytest.mark.parametrize("places", [slice(3, 7), slice(1, None, 2)])
def test_what_is_dropped_of_a_sample_does_not_depend_on_the_others(places: slice) -> None:
    images = np.ones((len(KEYS), 4, 4, 3), np.float32)
    np.testing.assert_array_equal(by_torch(images[places], KEYS[places]), by_torch(images, KEYS)[places])


def test_elements_layers_and_samples_are_dropped_independently() -> None:
    kept = partial(torch_dropout.kept_elements, torch.from_numpy(KEYS), elements=1000, rate=0.5)
    one, other = (kept(name=name).double().numpy() for name in ("features.3.drop", "features.4.drop"))
    for mask in (one, other):
        assert mask.mean() == pytest.approx(0.5, abs=0.005)
        assert np.abs(mask.mean(0) - 0.5).max() < 0.16 and np.abs(mask.mean(1) - 0.5).max() < 0.08
        assert abs(np.corrcoef(mask[:, :-1].ravel(), mask[:, 1:].ravel())[0, 1]) < 0.01
        assert abs(np.corrcoef(mask[:-1].ravel(), mask[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("rate", [0.001, 0.2, 0.999])
def test_the_rate_is_what_it_says(rate: float) -> None:
    kept = torch_dropout.kept_elements(torch.from_numpy(KEYS), "drop", 5000, rate)
    assert 1 - float(kept.double().mean()) == pytest.approx(rate, rel=0.05, abs=0.0002)


# If one of these changes, no run with dropout that was begun before can be resumed exactly.
FROZEN = "1010100010101010 1101011010110111"


def test_draws_stay_as_they_are() -> None:
    kept = torch_dropout.kept_elements(torch.tensor([7, 2**32 - 1]), "classifier.2", 16, 0.5)
    assert " ".join("".join(map(str, row.int().tolist())) for row in kept) == FROZEN


@pytest.mark.parametrize(
    ("shape", "order"), [((2, 3), (0, 1, 2)), ((4, 5, 3), (0, 2, 3, 1)), ((3, 2), (0, 2, 1)), ((7,), (0, 1))]
)
def test_places_are_those_of_torchs_order(shape: Sequence[int], order: Sequence[int]) -> None:
    places = drop_draws.torch_places(shape, order)
    stored = np.empty(shape, int)
    in_torch = np.arange(stored.size).reshape([shape[order.index(axis) - 1] for axis in range(1, len(order))])
    stored[...] = in_torch.transpose([axis - 1 for axis in order[1:]])
    np.testing.assert_array_equal(places, stored.ravel())


def test_in_evaluation_nothing_is_dropped() -> None:
    network = Twice()
    torch_dropout.draw_by_sample(network)
    x = torch.ones(2, 3, 4, 4)
    assert torch.equal(network.eval()(x), torch.ones(2, 48))
