"""Where a command's results go, as they were typed: checked before its work, so that none is done in vain."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from scenerec.commands import options
from scenerec.errors import ConfigError, StorageError
from scenerec.storage import LocalStorage
from scenerec.storage.writable import check_writable

_PROBE = b"\0" * 65536  # a full disk takes an empty file


def result_file(option: str, typed: Path | None) -> Path | None:
    """A file that an option names, expanded: it can be written, or replaced.

    Raises ConfigError where it is a folder or in none, StorageError where nothing can be written there.
    """
    if typed is None:
        return None
    path = options.local_path(option, typed, "afterwards")
    if path.is_dir():
        raise ConfigError(f"{option} {typed}: is a folder: name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {typed}: there is no folder {typed.parent}")
    try:
        _try_to_write(path)
    except OSError as error:
        raise StorageError(f"{option} {typed}: cannot be written: {error.strerror}") from None
    return path


def local_folder(option: str, typed: Path) -> Path:
    """A folder of this machine that an option names, expanded: something can be written there.

    Raises ConfigError where it is no path of this machine, StorageError where nothing can be written there.
    """
    path = options.local_path(option, typed, "afterwards")
    check_writable(str(path))
    return path


def write_result(path: Path, content: str | bytes) -> None:
    """Writes a file that `result_file` has checked: all of it, else the one before stays.

    Raises StorageError where the disk is full by now.
    """
    encoded = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file():  # a device, such as /dev/stdout, which must stay what it is
        path.write_bytes(encoded)
    else:
        target = path.resolve()
        LocalStorage(target.parent).put(target.name, encoded)


def _try_to_write(path: Path) -> None:
    """Raises OSError where the file could not be written; leaves it as it is."""
    if path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(handle, b"")  # of a device, such as /dev/full, this tells
        finally:
            os.close(handle)
        if not path.is_file():
            return
    handle, probe = tempfile.mkstemp(prefix=f".{path.name}"[:100], dir=path.parent)
    try:
        os.write(handle, _PROBE)
        os.fsync(handle)
    finally:
        os.close(handle)
        with suppress(OSError):
            Path(probe).unlink()
