"""A part of a test without the rights of root, who may read and write everything."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """As a user who owns what is below `folder`, where the tests run as root, to whom everything is permitted.

    The folders above it can be read meanwhile, and so can those of the code, of which a command imports more.
    """
    if os.geteuid():
        yield
        return
    below = [folder, *folder.rglob("*")]
    for path in below:
        os.chown(path, 65534, 65534)
    code = (Path(__file__).resolve(), Path(sys.prefix, "any"), Path(sys.base_prefix).resolve())
    above = {parent for path in (folder, *code) for parent in path.parents}
    parents = {path: path.stat().st_mode for path in above if path.stat().st_mode & 0o055 != 0o055}
    for path, mode in parents.items():
        path.chmod(mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in parents.items():
            path.chmod(mode)
        for path in below:
            path.chmod(0o755)
