"""Folders of objects, local or in S3, behind one small interface: relative keys, atomic puts, one-line errors."""

from pathlib import Path

from scenerec.storage.local import LocalStorage
from scenerec.storage.protocol import ObjectInfo, Storage
from scenerec.storage.s3 import S3Storage

__all__ = ["LocalStorage", "ObjectInfo", "S3Storage", "Storage", "open_storage", "split_url"]


def open_storage(url: str) -> Storage:
    """The storage at `s3://bucket/prefix` or at a local path. Opens no connection yet."""
    if url.startswith("s3://"):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return S3Storage(bucket, prefix.strip("/"))
    return LocalStorage(Path(url.removeprefix("file://")))


def split_url(url: str) -> tuple[str, str]:
    """An object's address as (folder, key): "s3://b/runs/a.bin" -> ("s3://b/runs", "a.bin")."""
    folder, _, key = url.rstrip("/").rpartition("/")
    return folder or ".", key
