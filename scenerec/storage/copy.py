"""Copies of objects from one storage into another."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from scenerec.storage.protocol import ObjectInfo, Storage

# What makes a checkpoint, a bundle, a packed set or a run valid.
_LAST = ("state.json", "bundle.json", "manifest.json", "result.json")
_PART_BYTES = 64 * 2**20


def copy_order(objects: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """The objects in the order in which they are copied: by key, and last of all what makes a folder valid.

    So a copy that breaks off holds nothing that looks complete; of folders within folders the inner ones come first.
    """

    def rank(info: ObjectInfo) -> tuple[bool, int, str]:
        is_last = info.key.rpartition("/")[2] in _LAST
        return is_last, -info.key.count("/") if is_last else 0, info.key

    return sorted(objects, key=rank)


def copy_object(source: Storage, info: ObjectInfo, target: Storage, key: str) -> None:
    """Copies an object, in parts where it is large: memory holds 64 MiB of it at most. Raises StorageError."""
    if info.size_bytes <= _PART_BYTES:
        target.put(key, source.get(info.key))
        return
    with tempfile.TemporaryDirectory(prefix="scenerec-copy-") as folder:
        whole = Path(folder, "object")
        with whole.open("wb") as file:
            for start in range(0, info.size_bytes, _PART_BYTES):
                file.write(source.get_range(info.key, start, _PART_BYTES))
        target.put(key, whole)
