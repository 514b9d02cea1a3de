"""Environments of their own for the peers that a benchmark compares with."""

import subprocess
import sysconfig
import venv
from pathlib import Path


class UnavailableError(Exception):
    """A peer cannot be measured here; the message says why."""


def make_environment(environment: Path, requirements: Path, borrows: bool = False) -> Path:
    """The programs of a virtual environment with exactly the packages of a file; made the first time.

    What is missing it `borrows` from the environment of this process: torch alone is some gigabytes. Raises
    UnavailableError.
    """
    wanted = requirements.read_text()
    done = environment / "installed.txt"
    if not done.exists() or done.read_text() != wanted:
        venv.create(environment, clear=True, with_pip=True)
        pip = [str(environment / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet"]
        pip += ["--no-deps"] if borrows else []
        ran = subprocess.run([*pip, "-r", str(requirements)], capture_output=True, text=True)
        if ran.returncode:
            errors = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")] or [ran.stderr[-200:]]
            raise UnavailableError(f"pip: {errors[-1].removeprefix('ERROR: ')[:200]}")
        if borrows:  # behind its own packages
            own = next(environment.glob("lib/python*/site-packages"))
            (own / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
        done.write_text(wanted)
    return environment / "bin"
