"""The packing job: `python -m jobs.pack request.json` on the cluster packs one shard a task, on all of its nodes."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import ray

from jobs.log import ImageNotes, say
from jobs.main import main
from jobs.ray_tasks import Result, Task, run_tasks
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.job_log import Note
from scenerec.json_object import JsonObject


def run_file(file: str) -> JsonObject:
    """Packs what the request in `file` asks for; returns what the result says of it. Raises ScenerecError."""
    request = PackRequest.model_validate_json(Path(file).read_bytes())
    ray.init(log_to_driver=False, logging_level="ERROR")
    return asdict(pack(request, run_on_cluster, ImageNotes(), lambda line: say(Note(line))))


def run_on_cluster(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """A runner (see `scenerec.data.pool`) on the cluster that Ray is connected to, one CPU a task, two in flight."""
    return run_tasks(function, tasks, in_flight=2 * max(1, int(ray.cluster_resources().get("CPU", 1))))


if __name__ == "__main__":
    sys.exit(main("jobs.pack"))
