"""Imports of large libraries, in three quarters of their time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def large_imports() -> Iterator[None]:
    """Holds the garbage collector back while the imports inside are made.

    They make hundreds of thousands of objects that stay, and the collector would look through all of them again and
    again: of three seconds for torch and torchvision it takes one.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
