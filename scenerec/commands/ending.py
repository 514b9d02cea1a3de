"""Why a job has ended without a result, and what goes on from there."""

import signal

from cluster.job import INTERRUPTED, UNFINISHED, Job, out_of_memory
from scenerec.commands.kinds import is_run

_SIGNALLED = 128  # a shell's exit code for a program that a signal has ended is this and the signal's number

_BY_SIGNAL = {
    signal.SIGKILL: "was killed (SIGKILL): if memory ran out, by the system (`dmesg` on its node says so)",
    signal.SIGTERM: "was ended from outside (SIGTERM)",
    signal.SIGINT: "was interrupted (SIGINT)",
}


def reason(job: Job) -> str:
    """Says in a line why a job without a result has none, as far as its cluster knows."""
    if job.status == "SUCCEEDED":
        return "ended without a result"
    if job.status == INTERRUPTED:
        return "fell silent: it ended with its cluster or its node"
    if job.status == UNFINISHED:
        return "has no result, and no job has left a record: it was interrupted, or is part of a search that runs"
    if out_of_memory(job.message):
        return "was killed because its node ran out of memory: give it more, or let it do less at once"
    if number := _signal_number(job.exit_code):
        return _BY_SIGNAL.get(number) or f"crashed ({number.name})"
    said = job.message.strip().partition("\n")[0].partition(", last available logs")[0]
    return f"failed: {said or 'no reason given'}"


def next_step(job: Job, where: str = "") -> str:
    """Says which command goes on from where the job has ended.

    Args:
        job: has ended.
        where: what names its cluster on a command line, such as " --address URL".
    """
    if is_run(job.kind):
        return f"go on from what it has saved: scenerec submit --resume {job.run_url}{where}"
    return "go on: the same command again"


def _signal_number(exit_code: int | None) -> signal.Signals | None:
    number = -(exit_code or 0) if (exit_code or 0) < 0 else (exit_code or 0) - _SIGNALLED
    return signal.Signals(number) if number in set(signal.Signals) else None
