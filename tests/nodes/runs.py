"""The runs that faults are done to, and how they are judged: to the last bit, by a run to which nothing happens."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.nodes.datacenter import BUCKET, Datacenter
from tests.nodes.watched_job import WatchedJob

_PLACE = re.compile(r"epoch (\d+)/\d+ step +(\d+)/")
_RESTART = re.compile(r"; restart \d+ of \d+")

_SAMPLES = """
from scenerec.training.run_folder import RunFolder
from scenerec.training.sample_log import logged_batches
for batch in logged_batches(RunFolder('s3://{bucket}/runs/{run}').samples, {steps}):
    print(*batch)
"""


def document(name: str, framework: str, epochs: int, **blocks: Any) -> dict[str, Any]:
    """A training on two workers, of ten steps an epoch, with a checkpoint every third step."""
    return {
        "kind": "train",
        "name": name,
        "framework": framework,
        "data": {
            "train": f"s3://{BUCKET}/drawn/train",
            "val": f"s3://{BUCKET}/drawn/val",
            "image_size": 32,
            "log_samples": True,
            "store_patience_s": 45,  # a full SeaweedFS costs all of it, for it answers as one that is ill
        },
        "model": {"arch": "shufflenet_v2_x0_5"},
        "optimize": {"epochs": epochs, "global_batch_size": 10, "lr": 0.01},
        "scale": {"workers": 2},
        "checkpoint": {"every_steps": 3},
        "output": f"s3://{BUCKET}/runs",
        **blocks,
    }


def learned(dc: Datacenter, run: str) -> list[Any]:
    """What a finished run has learned, epoch by epoch, and of which samples: faults must not change it."""
    history = [
        {
            key: value
            for key, value in epoch.items()
            if key.startswith(("epoch", "global_step", "train_loss", "val_", "lr"))
        }
        for epoch in dc.history(run)
    ]
    steps = history[-1]["global_step"]
    return [history, samples(dc, run, steps)]


def samples(dc: Datacenter, run: str, steps: int) -> list[str]:
    """The samples of each step, as the run's sample log has them."""
    return dc.python(_SAMPLES.format(bucket=BUCKET, run=run, steps=steps)).splitlines()


Place = tuple[int, int]
"""Epoch, from 1, and steps done in it."""


def await_epoch(job: WatchedJob, epoch: int) -> None:
    """Waits until the run is in the middle of that epoch, between two checkpoints."""
    job.until(rf"epoch {epoch}/\d+ step +4/")


def newest_place(jobs: Sequence[WatchedJob]) -> Place:
    """The furthest place of a run that these submissions carried on, one after the other; (0, 0) before it begins."""
    return max((place for job in jobs for _, place in _places(job)), default=(0, 0))


def standstill(jobs: Sequence[WatchedJob], since_s: float) -> tuple[float, int]:
    """The longest time in which the run made no new step, from a time on (of the monotonic clock), in seconds.

    And how often its workers were started again meanwhile.
    """
    furthest, last_s, longest_s = (0, 0), since_s, 0.0
    for said_s, place in ((said_s, place) for job in jobs for said_s, place in _places(job)):
        if place > furthest:
            furthest = place
            if said_s > since_s:
                longest_s, last_s = max(longest_s, said_s - last_s), said_s
    said = [line.text for job in jobs for line in job.lines if job.began_s + line.at_s > since_s]
    return longest_s, sum(bool(_RESTART.search(text)) for text in said)


def _places(job: WatchedJob) -> Iterator[tuple[float, Place]]:
    """When the job told of which place."""
    for line in list(job.lines):
        if found := _PLACE.search(line.text):
            yield job.began_s + line.at_s, (int(found[1]), int(found[2]))
