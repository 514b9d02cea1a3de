"""The last resort: an exception that nobody has foreseen becomes a line, and a file that can be sent with a report."""

import errno
import os
import platform
import shlex
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from scenerec import __version__
from scenerec.commands.standard_streams import BROKEN_PIPE_EXIT_CODE, complain, reader_is_gone
from scenerec.errors import ScenerecError, StorageError, first_line
from scenerec.names import without_password

_SECRETS = ("--api-key", "--latitude", "--longitude", "--time")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def explain(error: Exception, command: str, words: Sequence[str]) -> int:
    """Says in a line what has ended a command, and returns the exit code.

    Args:
        error: what nobody has caught.
        command: its name: `data pack`.
        words: all that was typed after `scenerec`; with --verbose among them the traceback is shown.
    """
    if isinstance(error, BrokenPipeError) and reader_is_gone():
        return BROKEN_PIPE_EXIT_CODE
    told = "".join(traceback.format_exception(error))
    if {"--verbose", "-v"} & set(words):
        complain(told.rstrip())
    if isinstance(error, FileNotFoundError) and _working_folder() is None:
        complain("error: the folder that you are in is gone: change to one that exists")
        return StorageError.exit_code
    if isinstance(error, OSError) and error.errno in _FULL:
        complain(f"error: {error.strerror}: {_full_place()}")
        return StorageError.exit_code
    file = _write_report(told, words)
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes) and error.strerror:
        where = f" (scenerec {command}; the traceback is in {file})" if file else ""
        complain(f"error: {os.fsdecode(error.filename)}: {error.strerror}{where}")
        return StorageError.exit_code
    what = f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__
    remedy = f"the traceback is in {file}: please send it with a report" if file else f"please report this:\n{told}"
    complain(f"error: scenerec {command}: met what nobody has foreseen ({what}); {remedy.rstrip()}")
    return ScenerecError.exit_code


def _full_place() -> str:
    """What is full, as far as can be seen: the error names no file."""
    try:
        os.write(1, b"")
    except OSError:
        return "standard output"
    places: dict[str, int | Path] = {"standard output": 1, **{str(folder): folder for folder in _folders()}}
    for name, place in places.items():
        with suppress(OSError):
            if os.statvfs(place).f_bavail == 0:
                return name
    return "a disk that this command writes to"


def _write_report(told: str, words: Sequence[str]) -> Path | None:
    """The file with the traceback, in the first folder that takes it; None where none does."""
    report = "\n".join(
        (
            f"scenerec {shlex.join(_without_secrets(words))}",
            f"scenerec {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"in {_working_folder()}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            "",
            told,
        )
    )
    for folder in _folders():
        # Whatever hinders it, the error itself must be told.
        with suppress(Exception):
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(".txt", f"crash-{datetime.now(UTC):%Y%m%d-%H%M%S}-", folder)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(report)
            except BaseException:
                Path(name).unlink()
                raise
            return Path(name)
    return None


def _folders() -> Iterator[Path]:
    """Beside the embedded cluster's files, else where temporary ones go."""
    with suppress(Exception):
        from cluster.state import cluster_home

        yield cluster_home()
    with suppress(Exception):
        yield Path(tempfile.gettempdir())


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:
        return None


def _without_secrets(words: Sequence[str]) -> list[str]:
    shown: list[str] = []
    for word in words:
        option, equals, _ = word.partition("=")
        if option in _SECRETS and equals:
            shown.append(f"{option}=...")
        else:
            shown.append("..." if shown and shown[-1] in _SECRETS else without_password(word))
    return shown
