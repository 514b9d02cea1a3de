import subprocess
import sys
from pathlib import Path

import pytest

from cluster.working_dir import fill_working_dir
from tests.patience import PATIENCE_S


@pytest.mark.slow
def test_a_job_brings_the_code_of_its_client(tmp_path: Path) -> None:
    fill_working_dir(tmp_path, "name: first\n")
    assert (tmp_path / "config.yaml").read_text() == "name: first\n"
    assert not list(tmp_path.rglob("__pycache__"))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 5_000_000
    program = "import scenerec.config.train, jobs.train, cluster.client; print(scenerec.__file__, jobs.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{tmp_path}/scenerec/__init__.py", f"{tmp_path}/jobs/__init__.py"]
