"""What a job brings along beside its config: the code of whoever submits it."""

import shutil
import subprocess
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import scenerec

COMMIT_VARIABLE = "SCENEREC_COMMIT"
"""The environment variable by which a job knows the commit of the code that it runs."""

_PACKAGES = ("scenerec", "jobs", "cluster", "serve")


def copy_packages(folder: Path, module: str = "jobs") -> list[Path]:
    """Copies scenerec's packages into `folder`, and returns theirs: the cluster runs the client's code, not its own.

    `module` is what will run there. Where it lies in none of scenerec's packages, its own package comes as well. What
    Python has compiled stays behind: it belongs to this machine.
    """
    root = Path(scenerec.__file__).parent.parent
    packages = {package: root / package for package in _PACKAGES}
    if (package := module.partition(".")[0]) not in packages:
        packages[package] = Path(str(import_module(package).__file__)).parent
    for package, source in packages.items():
        shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return [folder / package for package in packages]


def commit_environment() -> dict[str, str]:
    """The variable with the commit of the code that is sent; none where it is no checkout of git's."""
    root = Path(scenerec.__file__).parent.parent
    if not (root / ".git").exists():
        return {}
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["git", "-C", str(root), "rev-parse", "HEAD"]
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)
        return {COMMIT_VARIABLE: told.stdout.strip()}
    return {}
