"""Folders of objects, local or in S3, behind one small interface: relative keys, atomic puts, one-line errors."""

from scenerec.errors import StorageError, printable
from scenerec.storage.address import local_path, split_s3
from scenerec.storage.json_file import read_json
from scenerec.storage.local import LocalStorage, file_sha256
from scenerec.storage.patience import IMPATIENT, Patience
from scenerec.storage.protocol import ObjectInfo, Storage
from scenerec.storage.s3 import S3Storage

__all__ = [
    "IMPATIENT",
    "LocalStorage",
    "ObjectInfo",
    "Patience",
    "S3Storage",
    "Storage",
    "file_sha256",
    "open_storage",
    "read_json",
    "split_url",
]


def open_storage(url: str, patience: Patience = IMPATIENT) -> Storage:
    """The storage at `s3://bucket/prefix`, which waits with `patience` for its store, or at a local path.

    Opens no connection yet. Raises StorageError for what is no address, such as `s3:/bucket`.
    """
    try:
        place = split_s3(url)
        return S3Storage(*place, patience) if place else LocalStorage(local_path(url))
    except ValueError as error:
        raise StorageError(f"{printable(url)}: {error}") from None


def split_url(url: str) -> tuple[str, str]:
    """An object's address as (folder, key): "s3://b/runs/a.bin" -> ("s3://b/runs", "a.bin"); a bucket has no key."""
    folder, slash, key = url.rstrip("/").rpartition("/")
    return (f"s3://{key}", "") if folder == "s3:/" else (folder or slash or ".", key)
