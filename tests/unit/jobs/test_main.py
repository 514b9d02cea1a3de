"""What every job's process says, and how it ends."""

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
