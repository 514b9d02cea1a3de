"""What every job's process says, and how it ends."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.main import run_job
from scenerec.errors import DataError


def test_a_job_ends_with_its_result_or_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(file: str) -> Any:
        if file == "data":
            raise DataError("packed/train: is damaged")
        return {"shards": 1 // 0} if file == "zero" else {"shards": 3}

    assert run_job(fail, "fine") == 0
    assert capsys.readouterr().out == '[result] {"shards": 3}\n'
    assert run_job(fail, "data") == 4
    assert capsys.readouterr().out == "[error] packed/train: is damaged\n"
    assert run_job(fail, "zero") == 1
    shown = capsys.readouterr()
    assert shown.out == "[error] met what nobody has foreseen (ZeroDivisionError: integer division or modulo by zero)\n"
    assert shown.err.startswith("Traceback")


LOOKS_FOR_ROOM = """
import asyncio
import time

async def look():
    print("looking", flush=True)
    while True:
        time.sleep(0.1)

def run_file(file):
    asyncio.run(look())
"""


def test_ctrl_c_ends_a_job_that_makes_no_pause(tmp_path: Path) -> None:
    (tmp_path / "looking.py").write_text(LOOKS_FOR_ROOM)
    program = "import sys; from jobs.main import main; sys.path.append(sys.argv[2]); main('looking')"
    with subprocess.Popen(
        [sys.executable, "-c", program, "file", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as job:
        try:
            assert job.stdout and job.stdout.readline() == b"looking\n"
            job.send_signal(signal.SIGINT)
            assert job.wait(timeout=60) == -signal.SIGINT
        finally:
            job.kill()
