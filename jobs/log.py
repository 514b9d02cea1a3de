"""What a job tells its log: lines of `scenerec.job_log`."""

import time

from scenerec.job_log import Event, ImageProgress, format_line

NOTE_EVERY_S = 5.0


def say(event: Event) -> None:
    """Prints the event's line; a worker's lines reach the job's log through Ray."""
    print(format_line(event), flush=True)


class ImageNotes:
    """Says now and then how many images are done, and how many a second since the first call."""

    def __init__(self) -> None:
        self.began_s = self.said_s = time.monotonic()
        self.done_before: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Takes note that `done` of `total` images are done. What the first call tells of was done earlier."""
        if self.done_before is None:
            self.done_before = done
        now_s = time.monotonic()
        if now_s - self.said_s >= NOTE_EVERY_S or done == total:
            rate = (done - self.done_before) / (now_s - self.began_s)
            say(ImageProgress(done, total, rate, (total - done) / rate if rate else None))
            self.said_s = now_s
