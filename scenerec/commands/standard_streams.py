"""Standard input, output and error as a shell hands them over: perhaps closed, full, or of an old encoding."""

import errno
import os
import select
import sys
from contextlib import suppress

from scenerec.errors import StorageError

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}

BROKEN_PIPE_EXIT_CODE = 1
"""Exit code of a command whose reader has gone, as `head` does: it ends without a word."""


def open_streams() -> None:
    """Makes all three usable: one that is closed becomes /dev/null, and what an encoding lacks is written as \\uXXXX.

    A file that is opened later would otherwise take the number of the closed one, and be written to.
    """
    for number, (name, mode) in enumerate(_MODES.items()):
        if getattr(sys, name) is None:
            _point_to_nowhere(number)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def close_streams() -> int | None:
    """Writes what standard output still holds; returns an exit code where that fails, having said why."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _point_to_nowhere(1)  # else Python would try once more at its end, and complain
        if error.errno == errno.EPIPE:
            return BROKEN_PIPE_EXIT_CODE
        complain(f"error: standard output: {error.strerror}")
        return StorageError.exit_code
    return None


def reader_is_gone() -> bool:
    """Whether standard output or error is a pipe that nobody reads any more."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def complain(line: str) -> None:
    """Writes a line to standard error, if that can be written."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _point_to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)  # children inherit it
        os.close(nowhere)
    else:
        os.set_inheritable(number, True)
