import subprocess
import sys
from pathlib import Path

import pytest

from cluster.working_dir import copy_packages
from tests.patience import PATIENCE_S


@pytest.mark.slow
def test_a_job_brings_the_code_of_its_client(tmp_path: Path) -> None:
    packages = copy_packages(tmp_path)
    assert sorted(packages) == sorted(tmp_path.iterdir())
    assert not list(tmp_path.rglob("__pycache__"))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 5_000_000
    program = "import scenerec.config.train, jobs.train, cluster.client; print(scenerec.__file__, jobs.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{tmp_path}/scenerec/__init__.py", f"{tmp_path}/jobs/__init__.py"]
