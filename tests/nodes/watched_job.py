"""A submission that is watched while it runs: its lines, when each came, and how it ended."""

import re
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path


class JobError(AssertionError):
    """A job did not come to where it was awaited."""


class Line:
    """A line that a job has said, and when: seconds since its submission."""

    def __init__(self, at_s: float, text: str) -> None:
        self.at_s, self.text = at_s, text


class WatchedJob:
    """A submission whose lines are read while it runs, and kept in a file."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name, self.log, self.lines, self._ended = name, log, list[Line](), False
        self.began_s = time.monotonic()
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"lines-of-{name}")
        self._reader.start()

    @property
    def now_s(self) -> float:
        """Seconds since the submission."""
        return time.monotonic() - self.began_s

    @property
    def job_id(self) -> str:
        """Id of the job, once it has been said."""
        return self.until(r"^job \S+, dashboard").text.split()[1].rstrip(",")

    def until(self, pattern: str, timeout_s: float = 400, after_s: float = 0.0) -> Line:
        """Waits for a line in which the pattern is found, said after that time; JobError where none comes."""
        deadline_s = time.monotonic() + timeout_s
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if line.at_s >= after_s and re.search(pattern, line.text):
                        return line
                seen = len(self.lines)
                left_s = deadline_s - time.monotonic()
                if self._ended or left_s <= 0:
                    what = "ended" if self._ended else f"went on for {timeout_s:.0f} s"
                    raise JobError(f"{self.name} {what} without `{pattern}`:\n{self.tail()}")
                self._changed.wait(left_s)

    def wait(self, timeout_s: float = 900) -> int:
        """Waits for the command's end; returns its exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise JobError(f"{self.name} goes on after {timeout_s:.0f} s:\n{self.tail()}") from None
        self._reader.join()
        return code

    def tail(self, lines: int = 40) -> str:
        return "\n".join(f"{line.at_s:6.1f} {line.text}" for line in self.lines[-lines:])

    def _read(self) -> None:
        assert self.process.stdout
        with self.log.open("a") as log:
            for text in self.process.stdout:
                line = Line(self.now_s, text.rstrip())
                log.write(f"{line.at_s:6.1f} {line.text}\n")
                log.flush()
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
