"""The folder that a job brings along: its config, and the code of whoever submits it."""

import shutil
from pathlib import Path

import scenerec

_PACKAGES = ("scenerec", "jobs", "cluster", "serve")


def fill_working_dir(folder: Path, config_yaml: str) -> None:
    """Puts config.yaml and scenerec's packages into `folder`: the cluster runs the client's code, not its own."""
    (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
    root = Path(scenerec.__file__).parent.parent
    for package in _PACKAGES:
        shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
