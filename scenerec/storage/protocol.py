"""The interface of a folder of objects, which all the rest of scenerec sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """One object, as a listing tells of it."""

    key: str
    """Key, relative to the storage it was listed from."""
    size_bytes: int


class Storage(Protocol):
    """A folder of objects. All methods raise StorageError; those that need an object raise NotFoundError."""

    @property
    def url(self) -> str:
        """Address of the folder, without a trailing slash."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix`, by key. A missing folder is empty; a missing bucket an error.

        What stands for a folder, such as an object `a/`, is none.
        """

    def folders(self) -> Iterator[str]:
        """Names of the folders right below, sorted. A missing folder has none; a missing bucket is an error."""

    def get(self, key: str) -> bytes:
        """The content of the whole object."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer at the end of the object."""

    def put(self, key: str, content: bytes | Path) -> None:
        """Writes bytes or a file: readers see the old object or the whole new one."""

    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        """The whole object and its version, None if there is none."""

    def put_if(self, key: str, content: bytes, version: str | None) -> bool:
        """Writes only where the object is still at `version` (None: where there is none); returns whether it did.

        Of several writers one wins, if what they write differs. Raises StorageError, before anything is written, at a
        store where that cannot be had.
        """

    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is no error."""

    def size(self, key: str) -> int | None:
        """Size in bytes, None if there is no such object."""
