"""What every job's process does: its work on the file that the command line names, its result said, its exit code."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module

from jobs.log import say
from jobs.record import recorded
from jobs.turn import await_turn
from scenerec.errors import ScenerecError, first_line
from scenerec.job_log import Failure, RunResult
from scenerec.json_object import JsonObject


def main(module: str) -> int:
    """Runs the job of a module, its function `run_file`, on the file that the command line names.

    The module is imported by its name: functions of __main__ would travel to the workers by value, and each worker
    would have modules of its own for them.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(signal.SIGTERM))  # as Ray does, once it is there
    # In place of Python's own asyncio would wait for the next pause, and a controller that looks for room makes none.
    signal.signal(signal.SIGINT, _interrupt)
    return run_job(lambda file: import_module(module).run_file(file), sys.argv[1])


def run_job(run_file: Callable[[str], JsonObject], file: str) -> int:
    """Waits for the job's turn, and says what `run_file` returns, as its result, or what it raises; returns the code.

    Of an error that nobody has foreseen the log has the traceback as well.
    """
    with recorded() as record:
        try:
            record.begin()
            if record.job:
                await_turn(record.job, record.tell_waiting)
            say(RunResult(run_file(file)))
            return 0
        except ScenerecError as error:
            message, exit_code = str(error), error.exit_code
        except Exception as error:
            traceback.print_exc()
            message = f"met what nobody has foreseen ({type(error).__name__}: {first_line(error)})"
            exit_code = ScenerecError.exit_code
        say(Failure(message))
        record.end("FAILED", message, exit_code)
        return exit_code


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def job_id() -> str:
    """Id of this job's submission; of a run by hand, one with the process's."""
    return os.environ.get("SCENEREC_JOB_ID") or f"by-hand-{os.getpid()}"
