"""The job that adds images to packed sets: `python -m jobs.add request.json` on the cluster, one shard a task."""

import sys
from dataclasses import asdict
from pathlib import Path

import ray

from jobs.log import ImageNotes, say
from jobs.main import main
from jobs.pack import run_on_cluster
from scenerec.data.packing.add import Addition, AddRequest
from scenerec.job_log import Note
from scenerec.json_object import JsonObject


def run_file(file: str) -> JsonObject:
    """Adds what the request in `file` asks for; returns what the result says of it. Raises ScenerecError."""
    request = AddRequest.model_validate_json(Path(file).read_bytes())
    ray.init(log_to_driver=False, logging_level="ERROR")
    addition = Addition(request, lambda line: say(Note(line)))
    if not request.duplicates:
        addition.read_known(run_on_cluster, ImageNotes())
    return {"sets": [asdict(result) for result in addition.pack(run_on_cluster, ImageNotes())]}


if __name__ == "__main__":
    sys.exit(main("jobs.add"))
