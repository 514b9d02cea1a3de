"""Encoders: heads as data, their first weights, and the same network in both frameworks."""

from functools import partial

import numpy as np
import pytest
import torch

from scenerec.config.pretrain import MethodConfig
from scenerec.models import tf_batchnorm, tf_encoder, tf_freezing, tf_model, torch_batchnorm, torch_encoder, torch_model
from scenerec.models.heads import BatchNorm, Linear, Relu, first_queue, first_weights, perceptron
from scenerec.training.pretrain_heads import heads_of

SIMCLR = MethodConfig.model_validate({"method": "simclr"})
MOCO_V2 = MethodConfig.model_validate({"method": "mocov2"})
MOCO_V3 = MethodConfig.model_validate({"method": "mocov3", "projector_width": 24, "predictor_width": 20})


def test_heads_are_those_of_the_papers() -> None:
    assert heads_of(SIMCLR, 512)["projector"] == (
        *(Linear(512, 512, bias=False), BatchNorm(512), Relu()),
        *(Linear(512, 128, bias=False), BatchNorm(128)),
    )
    assert heads_of(MOCO_V2, 512) == {"projector": (Linear(512, 512, True), Relu(), Linear(512, 128, True))}
    heads = heads_of(MOCO_V3, 512)
    assert heads["projector"][-1] == BatchNorm(256, affine=False) and heads["projector"][0] == Linear(512, 24, False)
    assert heads["predictor"] == (Linear(256, 20, False), BatchNorm(20), Relu(), Linear(20, 256, False))
    assert perceptron([3, 2], batchnorm=False) == (Linear(3, 2, bias=True),)


def test_first_weights_are_torchs_distribution_by_the_seed_alone() -> None:
    heads = heads_of(MOCO_V2, 400)
    state, again, other = (first_weights(heads, seed) for seed in (1, 1, 2))
    assert list(state) == ["projector.0.weight", "projector.0.bias", "projector.2.weight", "projector.2.bias"]
    for key, array in state.items():
        assert array.dtype == np.float32 and np.array_equal(array, again[key]) and not np.array_equal(array, other[key])
        assert 0.045 < np.abs(array).max() <= 0.05  # 1 / sqrt(400)
        assert np.abs(array).mean() == pytest.approx(0.025, rel=0.1)
    assert not np.array_equal(state["projector.0.bias"][:128], state["projector.2.bias"])
    queue = first_queue(500, 16, seed=1)
    np.testing.assert_allclose(np.linalg.norm(queue, axis=1), 1, rtol=1e-6)
    assert np.abs(queue.mean(axis=0)).max() < 0.05 and np.array_equal(queue, first_queue(500, 16, seed=1))


def test_both_frameworks_have_the_same_encoder() -> None:
    """SqueezeNet, whose classifier is a convolution, with the head that has BatchNorm without scale and offset."""
    heads = partial(heads_of, MOCO_V3)
    ours = torch_encoder.build("squeezenet1_1", heads, seed=3)
    theirs = tf_encoder.build("squeezenet1_1", heads, image_size=32, seed=3)
    state, other = torch_model.state(ours), tf_model.state(theirs)
    assert state.keys() == other.keys() and all(np.array_equal(state[key], other[key]) for key in state)
    assert "projector.4.running_mean" in state and "projector.4.weight" not in state
    drawn = torch_model.state(torch_model.build("squeezenet1_1", 1, seed=3))
    backbone = [key for key in drawn if not key.startswith("classifier.1.")]
    assert all(np.array_equal(state[key], drawn[key]) for key in backbone)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        expected = torch_encoder.embed(ours.eval(), torch.from_numpy(images.transpose(0, 3, 1, 2)))
    found = theirs(images, training=False)
    assert [tuple(output.shape) for output in expected] == [(4, 512), (4, 256), (4, 256)]
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=1e-4, atol=1e-5)
    tf_freezing.freeze(theirs, [])
    norms = ["projector.1", "projector.4", "predictor.1"]  # one of which has no parameters, and is trained all the same
    assert list(torch_batchnorm.trained_layers(ours)) == norms
    assert [layer.name for layer in tf_batchnorm.trained_layers(theirs)] == norms
