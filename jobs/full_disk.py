"""A full disk of a node, which a worker meets: its error names the file, and of many nodes nobody knows which."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from scenerec.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NODE = re.compile(r"\[Node ([0-9A-Fa-f.:]+)\]")


@contextmanager
def full_disk_named(node: str) -> Iterator[None]:
    """Raises StorageError, which names the node by this address, where its disk has no room left."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        file = f" ({error.filename})" if error.filename else ""
        raise _full_disk(node, file) from error


def full_disk_told(told: str) -> StorageError | None:
    """The error that names the node, where Ray tells that its disk is too full to prepare a worker; else None."""
    node = _NODE.search(told)
    return _full_disk(node[1]) if node and any(os.strerror(each) in told for each in _FULL) else None


def _full_disk(node: str, file: str = "") -> StorageError:
    return StorageError(f"node {node}: no space is left on its disk{file}: make room there, or take the node away")
