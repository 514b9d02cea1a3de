"""Shards on a node's own disk, which the workers of the node share: each fetched once by all of them."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scenerec.errors import DataError

Parsed = TypeVar("Parsed")

_KEPT, _UNFINISHED = ".tar", ".unfinished"


@dataclass(frozen=True)
class ShardCache:
    """A folder of shards by SHA-256, safe for several processes and threads; what was not used longest goes first.

    A process that is killed leaves nothing behind that another would wait for or read. A full or failing disk costs
    speed only: what cannot be kept is fetched again.
    """

    folder: Path
    """A folder of the node; made if it is not there."""
    size_bytes: int
    """The most bytes of shards that it holds."""

    def get(self, sha256: str, fetch: Callable[[], bytes], parse: Callable[[bytes], Parsed]) -> Parsed:
        """What `parse` makes of a shard: of the copy here or, where there is none or it is damaged, of what is fetched.

        `parse` raises DataError for content whose checksum is not `sha256`; such is never kept. Callers that want the
        same shard at once wait for the first. Raises DataError where the folder cannot be used, and what `fetch` and
        `parse` raise.
        """
        with self._alone(sha256[:2]):
            copy = self.folder / f"{sha256}{_KEPT}"
            with suppress(OSError, DataError):
                content = copy.read_bytes()
                os.utime(copy)
                return parse(content)
            content = fetch()
            parsed = parse(content)
            self._keep(copy, content)
            return parsed

    def _keep(self, copy: Path, content: bytes) -> None:
        """Writes the copy, whole or not at all. One process at a time, so that the size is kept."""
        if len(content) > self.size_bytes:
            return
        unfinished = copy.with_suffix(_UNFINISHED)
        with self._alone("writing"):
            try:
                self._make_room(len(content))
                unfinished.write_bytes(content)
                unfinished.replace(copy)
            except OSError:
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)

    def _make_room(self, size_bytes: int) -> None:
        """Removes what was used longest ago, and what killed processes left unfinished, until the size fits."""
        files = [(path, path.stat()) for path in self.folder.iterdir() if path.suffix in (_KEPT, _UNFINISHED)]
        files.sort(key=lambda file: (file[0].suffix == _KEPT, file[1].st_mtime_ns))
        room = self.size_bytes - sum(status.st_size for _, status in files)
        for path, status in files:
            if room >= size_bytes and path.suffix == _KEPT:
                return
            path.unlink(missing_ok=True)
            room += status.st_size

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """One thread of one process of the node at a time, for each name; a process that dies makes way."""
        try:
            locks = self.folder / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            lock = os.open(locks / name, os.O_CREAT | os.O_RDONLY, 0o644)
        except OSError as error:
            raise DataError(
                f"data.cache.folder: {self.folder}: {error.strerror}: name a folder of the nodes that the workers may "
                "write to, or leave data.cache out"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
