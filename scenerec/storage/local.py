"""Folders of the file system as storage."""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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

    def _place(self, key: str) -> Path:
        """Raises StorageError for a key that leads out of the folder, as one of a foreign bucket may."""
        if key.startswith("/") or ".." in key.split("/"):
            raise StorageError(f"{self.root}: the key {key!r} leads out of the folder")
        return self.root / key

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Files below links to folders are left out: such may form a circle."""
        base = self.root / prefix.rpartition("/")[0]
        with _named_errors(base):
            if base.is_file():
                raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder")
            sizes = dict(self._sizes(base))
        for key in sorted(sizes):  # as S3 does: "a-b" before "a/b"
            if key.startswith(prefix):
                yield ObjectInfo(key, sizes[key])

    def _sizes(self, base: Path) -> Iterator[tuple[str, int]]:
        """Keys of the files below a folder, and their bytes. Raises OSError for a folder that may not be read."""

        def note(error: OSError) -> None:
            # The folder was deleted meanwhile, or lies below a file: neither is there.
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise error

        for folder, _, names in os.walk(base, onerror=note):
            for path in (Path(folder) / name for name in names):
                with suppress(FileNotFoundError):
                    if path.suffix != _UNFINISHED and path.is_file():
                        yield path.relative_to(self.root).as_posix(), path.stat().st_size

    @override
    def folders(self) -> Iterator[str]:
        with _named_errors(self.root):
            names = sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []
        yield from names

    @override
    def get(self, key: str) -> bytes:
        with _named_errors(self._place(key)):
            try:
                return (self.root / key).read_bytes()
            except NotADirectoryError:  # the root is a file; `size` says too that there is no such object
                raise FileNotFoundError from None

    @override
    def get_range(self, key: str, start: int, length: int) -> bytes:
        with _named_errors(self._place(key)), (self.root / key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    @override
    def put(self, key: str, content: bytes | Path) -> None:
        """Writes beside the object's place, then renames."""
        target = self.root / key
        with _named_errors(self._place(key)):
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
        with _named_errors(self._place(key)), ExitStack() as turn:
            parent.mkdir(parents=True, exist_ok=True)
            folder = os.open(parent, os.O_RDONLY)
            turn.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)
            found = self.get_versioned(key)
            if (found and found[1]) != version:
                return False
            self.put(key, content)
            return True

    @override
    def delete(self, key: str) -> None:
        """Removes the object, and folders that become empty."""
        with _named_errors(self._place(key)):
            (self.root / key).unlink(missing_ok=True)
            with suppress(OSError):
                for parent in (self.root / key).parents:
                    if parent == self.root:
                        break
                    parent.rmdir()

    @override
    def size(self, key: str) -> int | None:
        with _named_errors(self._place(key)):
            path = self.root / key
            return path.stat().st_size if path.is_file() else None


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits. Raises NotFoundError, StorageError."""
    with _named_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turns OSError, and ValueError for a name that no file can have, into StorageError that names the path."""
    try:
        yield
    except FileNotFoundError as error:
        missing = Path(error.filename or path)
        reason = f"is a link to {missing.readlink()}, which is not there" if missing.is_symlink() else "no such file"
        raise NotFoundError(f"{missing}: {reason}") from None
    except (FileExistsError, NotADirectoryError) as error:  # what was to be a folder
        what = f": {error.filename}" if error.filename not in (None, str(path)) else ""
        raise StorageError(f"{path}: Not a directory{what}") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise StorageError(f"{path}: cannot name a file ({error})") from None
