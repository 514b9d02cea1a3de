"""Whether results can be written to a place: asked before the work, not after it."""

import os
from contextlib import suppress

from scenerec.errors import NotFoundError, StorageError
from scenerec.storage import LocalStorage, Storage, open_storage

_KEY = ".writable"
_PROBE = b"\0" * 65536  # a full disk takes an empty file


def check_writable(url: str) -> None:
    """Raises StorageError where nothing can be written below `url`, a folder or s3:// prefix. Leaves nothing there."""
    storage = open_storage(url)
    if not isinstance(storage, LocalStorage):
        _try(storage)
        return
    if os.path.exists(storage.root) and not storage.root.is_dir():  # noqa: PTH110 - Path's raises where it may not look
        raise StorageError(f"{storage.url}: is a file: name a folder")
    missing = [each for each in (storage.root, *storage.root.parents) if not os.path.exists(each)]  # noqa: PTH110
    try:
        _try(storage)
    except NotFoundError:
        raise StorageError(f"{storage.url}: the folder cannot be made") from None
    finally:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()


def _try(storage: Storage) -> None:
    try:
        storage.put(_KEY, _PROBE)
        storage.delete(_KEY)
    except NotFoundError:
        raise
    except StorageError as error:
        reason = str(error).removeprefix(f"{storage.url}/{_KEY}: ")
        raise StorageError(f"{storage.url}: cannot be written to: {reason}") from None
