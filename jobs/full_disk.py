"""A full disk of a node, which a worker meets: its error names the file, and of many nodes nobody knows which."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from scenerec.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_named(node: str) -> Iterator[None]:
    """Raises StorageError, which names the node by this address, where its disk has no room left."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        file = f" ({error.filename})" if error.filename else ""
        raise StorageError(
            f"node {node}: no space is left on its disk{file}: make room there, or take the node away"
        ) from error
