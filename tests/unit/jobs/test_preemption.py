"""A worker that is told that its machine goes away."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator

import pytest

from jobs import preemption


@pytest.fixture
def listening() -> Iterator[None]:
    """This process listens as a worker does; afterwards SIGTERM means to it what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    preemption._listen()
    yield
    signal.signal(signal.SIGTERM, before)
    preemption._announced.clear()


def test_sigterm_announces_it_and_ends_nothing(listening: None) -> None:
    assert not preemption.is_announced()
    ctypes.CDLL(None).signal(signal.SIGTERM, int(signal.SIG_IGN))  # as TensorFlow takes it
    preemption.listen_again()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0)  # the handler runs between two instructions of the main thread
    assert preemption.is_announced()
