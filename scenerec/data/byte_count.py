"""A count of bytes that many threads add to."""

import threading


class ByteCount:
    """Bytes that were added, in this process: a copy that travels to another one begins at 0."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    @property
    def total_bytes(self) -> int:
        """All that was added."""
        return self._bytes

    def add(self, some_bytes: int) -> None:
        """Adds some; from any thread."""
        with self._lock:
            self._bytes += some_bytes

    def __reduce__(self) -> tuple[type["ByteCount"], tuple[()]]:
        return ByteCount, ()
