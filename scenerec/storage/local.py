"""Folders of the file system as storage."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from typing_extensions import override

from scenerec.errors import NotFoundError, StorageError
from scenerec.storage.protocol import ObjectInfo, Storage

_UNFINISHED = ".unfinished"  # of a local file that is being written


class LocalStorage(Storage):
    """A folder of the file system; an object's version is its SHA-256."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    @property
    @override
    def url(self) -> str:
        """The absolute path of the folder."""
        return str(self.root)

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        base = self.root / prefix.rpartition("/")[0]
        with _named_errors(str(base)):
            files = [path for path in base.rglob("*") if path.suffix != _UNFINISHED and path.is_file()]
            keys = {path.relative_to(self.root).as_posix(): path for path in files}
        for key in sorted(keys):  # as S3 does: "a-b" before "a/b"
            with suppress(FileNotFoundError):  # deleted meanwhile
                if key.startswith(prefix):
                    yield ObjectInfo(key, keys[key].stat().st_size)

    @override
    def folders(self) -> Iterator[str]:
        if self.root.is_dir():
            with _named_errors(str(self.root)):
                yield from sorted(path.name for path in self.root.iterdir() if path.is_dir())

    @override
    def get(self, key: str) -> bytes:
        with _named_errors(self._path(key)):
            try:
                return (self.root / key).read_bytes()
            except NotADirectoryError:  # the root is a file; `size` says too that there is no such object
                raise FileNotFoundError from None

    @override
    def get_range(self, key: str, start: int, length: int) -> bytes:
        with _named_errors(self._path(key)), (self.root / key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    @override
    def put(self, key: str, content: bytes | Path) -> None:
        """Writes beside the object's place, then renames."""
        target = self.root / key
        with _named_errors(self._path(key)):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=_UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as file:
                    if isinstance(content, Path):
                        with content.open("rb") as source:
                            shutil.copyfileobj(source, file, 1 << 20)
                    else:
                        file.write(content)
                Path(temporary).chmod(0o644)
                Path(temporary).replace(target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    @override
    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        try:
            content = self.get(key)
        except NotFoundError:
            return None
        return content, hashlib.sha256(content).hexdigest()

    @override
    def put_if(self, key: str, content: bytes, version: str | None) -> bool:
        """Writers of this folder, on one machine, take turns."""
        parent = (self.root / key).parent
        with _named_errors(self._path(key)):
            parent.mkdir(parents=True, exist_ok=True)
            turn = os.open(parent, os.O_RDONLY)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            found = self.get_versioned(key)
            if (found and found[1]) != version:
                return False
            self.put(key, content)
            return True
        finally:
            os.close(turn)

    @override
    def delete(self, key: str) -> None:
        """Removes the object, and folders that become empty."""
        with _named_errors(self._path(key)):
            (self.root / key).unlink(missing_ok=True)
            with suppress(OSError):
                for parent in (self.root / key).parents:
                    if parent == self.root:
                        break
                    parent.rmdir()

    @override
    def size(self, key: str) -> int | None:
        with _named_errors(self._path(key)):
            path = self.root / key
            return path.stat().st_size if path.is_file() else None

    def _path(self, key: str) -> str:
        return str(self.root / key)


@contextmanager
def _named_errors(path: str) -> Iterator[None]:
    """Turns OSError into StorageError that names the path."""
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
