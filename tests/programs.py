"""Programs that a test needs and that the environment of Python does not bring."""

import os
import shutil

import pytest


def installed(name: str, package: str) -> str:
    """The path of a program. Without it the test is skipped, in CI it fails.

    Args:
        name: of the program.
        package: that brings it, in Debian and Ubuntu.
    """
    if path := shutil.which(name):
        return path
    reason = f"{name} is not installed: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
