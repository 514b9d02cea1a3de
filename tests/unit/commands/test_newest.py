"""What `scenerec status` reads in a job's log."""

from scenerec.commands.kinds import JobKind
from scenerec.commands.status import newest
from scenerec.job_log import Event, Progress, Restart, Waiting, format_line

REPORTS = JobKind("train", "jobs.train").reports


def progress(epoch: int, step: int) -> Progress:
    return Progress(epoch, 5, step, 10, 100.0, 0.5, 0.1, 9.0)


def log(*events: Event) -> str:
    return "\n".join(map(format_line, events))


def test_lines_that_ray_sends_again_do_not_count() -> None:
    first, second = (Restart(number, 3, "worker 1 on 10.0.0.12 was lost") for number in (1, 2))
    told = [progress(2, 4), first, progress(3, 1), second, progress(4, 7)]
    assert newest(log(*told, *told[:3]), REPORTS) == {"progress": progress(4, 7), "restart": second}


def test_what_a_job_waits_for_is_told_until_it_goes_on() -> None:
    waiting = Waiting("torch on 2 workers: 1 CPU each, 0 of 1 free")
    assert newest(log(progress(1, 2), waiting), REPORTS) == {"progress": progress(1, 2), "waiting": waiting}
    assert newest(log(waiting, progress(1, 2)), REPORTS) == {"progress": progress(1, 2)}
