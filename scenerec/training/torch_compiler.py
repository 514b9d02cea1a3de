"""Whether torch can compile here."""

import os
import shutil

from scenerec.errors import ClusterError


def check_compiler() -> None:
    """Raises ClusterError where this machine has no C++ compiler: torch would say so in the first step only."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ClusterError(
            f"compute.compile: torch compiles by {compiler}, and a worker's machine has none: install it on the nodes "
            "(or name another compiler in their CXX), or leave compute.compile out"
        )
