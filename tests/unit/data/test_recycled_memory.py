"""Memory is used again, but never while anything can be seen in it."""

import numpy as np
import pytest
import torch

from scenerec.data.recycled_memory import RecycledMemory


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_when_its_array_is_gone() -> None:
    memory = RecycledMemory()
    first = memory.array((4, 5, 3))
    where = address(first)
    other = memory.array((4, 5, 3))
    assert address(other) != where
    del first
    again = memory.array((2, 5, 3))  # a smaller one fits into it
    assert address(again) == where
    assert again.shape == (2, 5, 3)
    again[...] = 7
    del again
    assert memory.array((9, 5, 3)).shape == (9, 5, 3)


@pytest.mark.parametrize(
    "share", [lambda array: array[1:].reshape(-1), torch.from_numpy, lambda a: torch.from_numpy(a)[1:]]
)
def test_memory_that_is_shared_is_not_used_again(share) -> None:  # type: ignore[no-untyped-def]
    memory = RecycledMemory()
    array = memory.array((4, 5, 3))
    where = address(array)
    shared = share(array)
    del array
    assert address(memory.array((4, 5, 3))) != where
    del shared
    assert where in {address(one) for one in [memory.array((4, 5, 3)) for _ in range(3)]}


def test_memory_that_tensorflow_shares_is_not_used_again() -> None:
    import tensorflow as tf

    memory = RecycledMemory()
    tensors = []
    for number in range(20):
        array = memory.array((64, 64, 3))
        array[...] = number
        tensors.append(tf.constant(array))
        del array
    assert [int(tensor.numpy().max()) for tensor in tensors] == list(range(20))
    assert all(tensor.numpy().min() == tensor.numpy().max() for tensor in tensors)
