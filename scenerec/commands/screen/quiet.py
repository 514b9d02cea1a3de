"""Keeps what frameworks print off the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def quiet_frameworks(verbose: bool = False) -> Iterator[TextIO]:
    """Nothing reaches the terminal by stderr but what is written to the stream that this yields.

    TensorFlow's C++ code greets on file descriptor 2, and heeds no setting while it is being loaded. With `verbose`
    all is let through.
    """
    if verbose:
        yield sys.stderr
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with os.fdopen(stderr, "w", buffering=1, closefd=False) as terminal:
            yield terminal
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
