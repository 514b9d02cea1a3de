"""Contrastive losses: the papers' equations in plain NumPy, and the same losses and gradients in both frameworks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import scenerec.training.tf_contrastive as ours_tf
import scenerec.training.torch_contrastive as ours_torch

import tensorflow as tf  # isort: skip  torch goes before it

N, D, K, TEMPERATURE = 7, 5, 11, 0.3
Loss = Callable[..., np.ndarray]


def drawn(count: int, rows: int = N, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(size=(count, rows, D)))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def nt_xent(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """SimCLR, equation 1: view 2k of an image and view 2k + 1 are partners; each image's two directions, halved."""
    views = np.stack([first, second], axis=1).reshape(-1, D)

    def loss(i: int, j: int) -> float:
        others = [math.exp(cosine(views[i], views[k]) / TEMPERATURE) for k in range(len(views)) if k != i]
        return -math.log(math.exp(cosine(views[i], views[j]) / TEMPERATURE) / sum(others))

    return np.array([(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k)) / 2 for k in range(len(first))])


def info_nce(query: np.ndarray, key: np.ndarray, queue: np.ndarray) -> np.ndarray:
    """MoCo, equation 1: one positive, and the queue's keys."""
    losses = []
    for q, positive in zip(query, key, strict=True):
        exponents = [math.exp(cosine(q, k) / TEMPERATURE) for k in (positive, *queue)]
        losses.append(-math.log(exponents[0] / sum(exponents)))
    return np.array(losses)


def symmetric_info_nce(q1: np.ndarray, q2: np.ndarray, k1: np.ndarray, k2: np.ndarray) -> np.ndarray:
    """MoCo v3, algorithm 1: ctr(q1, k2) + ctr(q2, k1), where ctr is 2 tau times the cross-entropy of the pair."""

    def ctr(queries: np.ndarray, keys: np.ndarray, i: int) -> float:
        exponents = [math.exp(cosine(queries[i], key) / TEMPERATURE) for key in keys]
        return -2 * TEMPERATURE * math.log(exponents[i] / sum(exponents))

    return np.array([ctr(q1, k2, i) + ctr(q2, k1, i) for i in range(len(q1))])


LOSSES: dict[str, tuple[Loss, list[np.ndarray], int]] = {
    "nt_xent": (nt_xent, drawn(2), 2),
    "info_nce": (info_nce, [*drawn(2), *drawn(1, K, seed=1)], 1),
    "symmetric_info_nce": (symmetric_info_nce, drawn(4), 2),
}
"""Each with its embeddings, of which so many, the first, have gradients."""


def extra(name: str, module: Any) -> tuple[Any, ...]:
    return (TEMPERATURE,) if name == "info_nce" else (TEMPERATURE, module.gather)


def in_torch(name: str, arrays: list[np.ndarray], dtype: torch.dtype) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Losses, and the gradients of their sum by each of the embeddings."""
    tensors = [torch.tensor(array, dtype=dtype, requires_grad=True) for array in arrays]
    losses = getattr(ours_torch, name)(*tensors, *extra(name, ours_torch))
    losses.sum().backward()
    return losses.detach().numpy(), [None if t.grad is None else t.grad.numpy() for t in tensors]


def in_tensorflow(name: str, arrays: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray | None]]:
    tensors = [tf.constant(array, tf.float32) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        losses = getattr(ours_tf, name)(*tensors, *extra(name, ours_tf))
    gradients = tape.gradient(losses, tensors)
    return losses.numpy(), [None if gradient is None else gradient.numpy() for gradient in gradients]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_papers(name: str) -> None:
    formula, arrays, _ = LOSSES[name]
    exact, _ = in_torch(name, arrays, torch.float64)
    np.testing.assert_allclose(exact, formula(*arrays), rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_papers_losses(name: str) -> None:
    formula, arrays, trained = LOSSES[name]
    _, gradients = in_torch(name, arrays, torch.float64)
    assert gradients[trained:] == [None] * (len(arrays) - trained)  # keys have none
    for place in range(trained):
        for index in [(0, 0), (3, 2), (N - 1, D - 1)]:
            around = []
            for change in (1e-6, -1e-6):
                changed = [array.copy() for array in arrays]
                changed[place][index] += change
                around.append(formula(*changed).sum())
            gradient = gradients[place]
            assert gradient is not None
            assert gradient[index] == pytest.approx((around[0] - around[1]) / 2e-6, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_both_frameworks_have_the_same_losses_and_gradients(name: str) -> None:
    _, arrays, trained = LOSSES[name]
    losses, gradients = in_torch(name, arrays, torch.float32)
    twins, twin_gradients = in_tensorflow(name, arrays)
    np.testing.assert_allclose(losses, twins, rtol=1e-5)
    for ours, theirs in zip(gradients[:trained], twin_gradients[:trained], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert twin_gradients[trained:] == [None] * (len(arrays) - trained)


@pytest.mark.parametrize("name", ["nt_xent", "symmetric_info_nce"])
def test_shares_of_a_batch_have_the_losses_of_the_whole(name: str) -> None:
    """Ranks of 4, 0 and 3 samples, each of which sees the rows of all."""
    _, arrays, _ = LOSSES[name]
    whole = [torch.tensor(array) for array in arrays]
    rows: list[torch.Tensor] = []
    getattr(ours_torch, name)(*whole, TEMPERATURE, lambda own: rows.append(own) or ours_torch.Gathered(own, 0))
    expected, _ = in_torch(name, arrays, torch.float64)
    found = []
    for start, end in ((0, 4), (4, 4), (4, N)):
        share = [tensor[start:end] for tensor in whole]
        found.append(getattr(ours_torch, name)(*share, TEMPERATURE, lambda _: ours_torch.Gathered(rows[0], start)))  # noqa: B023
        twin = [tf.constant(tensor.numpy()) for tensor in share]
        all_rows = ours_tf.Gathered(tf.constant(rows[0].numpy()), start)
        twin_losses = getattr(ours_tf, name)(*twin, TEMPERATURE, lambda _: all_rows)  # noqa: B023
        np.testing.assert_allclose(found[-1], twin_losses, rtol=1e-12)
    np.testing.assert_allclose(torch.cat(found), expected, rtol=1e-12)


def test_a_collapsed_batch_has_the_loss_of_a_guess_and_no_gradient_to_escape_by() -> None:
    same = [np.ones((N, D))] * 2
    losses, gradients = in_torch("nt_xent", same, torch.float64)
    np.testing.assert_allclose(losses, math.log(2 * N - 1), rtol=1e-12)
    assert all(gradient is not None and abs(gradient).max() < 1e-12 for gradient in gradients)


@pytest.mark.parametrize("position", [0, 6, 9])
def test_a_queue_replaces_its_oldest_rows(position: int) -> None:
    (queue,), (keys,) = drawn(1, K), drawn(1, seed=1)
    expected = queue.copy()
    for index, key in enumerate(keys):
        expected[(position + index) % K] = key
    updated, after = ours_torch.update_queue(torch.tensor(queue), position, torch.tensor(keys))
    twin, twin_after = ours_tf.update_queue(tf.constant(queue), position, tf.constant(keys))
    assert np.array_equal(updated.numpy(), expected) and np.array_equal(twin.numpy(), expected)
    assert after == int(twin_after) == (position + N) % K


def test_a_momentum_encoder_follows_in_both_frameworks() -> None:
    keys, queries = drawn(2), drawn(2, seed=1)
    tensors, variables = [torch.tensor(key) for key in keys], [tf.Variable(key) for key in keys]
    ours_torch.update_momentum_encoder(tensors, [torch.tensor(query) for query in queries], 0.9)
    ours_tf.update_momentum_encoder(variables, [tf.Variable(query) for query in queries], 0.9)
    for tensor, variable, key, query in zip(tensors, variables, keys, queries, strict=True):
        np.testing.assert_allclose(tensor, 0.9 * key + 0.1 * query, rtol=1e-12)
        np.testing.assert_allclose(variable.numpy(), 0.9 * key + 0.1 * query, rtol=1e-12)


def test_a_momentum_near_1_gives_up_as_much_in_both_frameworks() -> None:
    """In float32, as the learners pass it: 1 - 0.99999 would be 0.14 % more there."""
    momentum = 0.99999
    tensor, variable = torch.zeros(3), tf.Variable(tf.zeros(3))
    ours_torch.update_momentum_encoder([tensor], [torch.ones(3)], momentum)
    ours_tf.update_momentum_encoder([variable], [tf.Variable(tf.ones(3))], tf.constant(momentum, tf.float64))
    np.testing.assert_allclose(tensor, 1 - momentum, rtol=1e-6)
    np.testing.assert_allclose(variable.numpy(), tensor.numpy(), rtol=1e-6)


def test_the_losses_are_lightlys() -> None:
    """Where lightly is: `pip install --no-deps lightly` is enough for its losses."""
    losses = pytest.importorskip("lightly.loss", reason="lightly is not installed: it would bring PyTorch Lightning")
    first, second = (torch.tensor(array, dtype=torch.float32) for array in drawn(2))
    theirs = losses.NTXentLoss(temperature=TEMPERATURE)(first, second)
    ours = ours_torch.nt_xent(first, second, TEMPERATURE, ours_torch.gather)
    assert ours.mean().item() == pytest.approx(theirs.item(), rel=1e-5)
