"""The runs that faults are done to, and how they are judged: to the last bit, by a run to which nothing happens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.nodes.datacenter import BUCKET, Datacenter, WatchedJob

MIDDLE = r"epoch 2/6 step +4/"
"""The line of a run at which faults strike: between two checkpoints, in the second epoch of six."""

_PLACE = re.compile(r"epoch (\d+)/\d+ step +(\d+)/")

_SAMPLES = """
from scenerec.training.run_folder import RunFolder
from scenerec.training.sample_log import logged_batches
for batch in logged_batches(RunFolder('s3://{bucket}/runs/{run}').samples, {steps}):
    print(*batch)
"""


def document(name: str, framework: str, **blocks: Any) -> dict[str, Any]:
    """A training of six epochs of ten steps on two workers, with a checkpoint every third step."""
    return {
        "kind": "train",
        "name": name,
        "framework": framework,
        "data": {
            "train": f"s3://{BUCKET}/drawn/train",
            "val": f"s3://{BUCKET}/drawn/val",
            "image_size": 32,
            "log_samples": True,
        },
        "model": {"arch": "shufflenet_v2_x0_5"},
        "optimize": {"epochs": 6, "global_batch_size": 10, "lr": 0.01},
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


@dataclass(frozen=True)
class Stretch:
    """The longest time in which a run made no new step, in seconds, and the restarts of its workers."""

    seconds: float
    restarts: int


def longest_standstill(jobs: Sequence[WatchedJob], since_s: float) -> Stretch:
    """Of a run that these submissions carried on, one after the other, from a time on (of the monotonic clock)."""
    best, last_s, longest_s, restarts = (0, 0), since_s, 0.0, 0
    for job in jobs:
        for line in job.lines:
            restarts += bool(re.search(r"; restart \d+ of \d+", line.text))
            if (found := _PLACE.search(line.text)) and (place := (int(found[1]), int(found[2]))) > best:
                said_s = job.began_s + line.at_s
                best = place
                if said_s > since_s:
                    longest_s, last_s = max(longest_s, said_s - last_s), said_s
    return Stretch(longest_s, restarts)
