"""A file in which whoever reads it is held: what a test does to a reader comes in the middle of its reading."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from tests.patience import PATIENCE_S, wait_until


class HeldFile:
    """A file of this machine that is a pipe without an end, until a reader was killed: then it is what it was."""

    def __init__(self, path: Path) -> None:
        self.path, self._real = path, path.with_suffix(".real")
        path.rename(self._real)
        os.mkfifo(path)
        self._writers: list[int] = []

    def kill_reader(self, program: "subprocess.Popen[str]") -> None:
        """Kills a process that reads it, as soon as `program` has brought one. Another one that reads it goes on."""
        wait_until(lambda: self._is_read() or program.poll() is not None, f"a reader of {self.path}", 2 * PATIENCE_S)
        assert self._writers, program.communicate()
        content, [writer] = self._real.read_bytes(), self._writers
        self._real.replace(self.path)  # for who comes from now on
        wait_until(lambda: bool(self._readers(writer)), "its process")
        victim = self._readers(writer)[0]
        victim.kill()
        wait_until(lambda: victim not in self._readers(writer), "the end of a process that was killed")
        with suppress(BrokenPipeError):  # nobody else reads it
            os.write(writer, content)
        os.close(writer)

    def _is_read(self) -> bool:
        with suppress(OSError):  # ENXIO: nobody reads it
            self._writers.append(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
        return bool(self._writers)

    def _readers(self, writer: int) -> list[psutil.Process]:
        others = (process for process in psutil.process_iter() if process.pid != os.getpid())
        return [process for process in others if _has_open(process, os.fstat(writer))]


def _has_open(process: psutil.Process, file: os.stat_result) -> bool:
    with suppress(OSError):  # of another user, or at its end
        for handle in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.path.samestat(handle.stat(), file):
                    return True
    return False
