"""The bulk prediction job: `python -m jobs.predict request.json` on the cluster answers the parts of a listing."""

import sys
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ray

from jobs.log import ImageNotes, say
from jobs.main import main
from jobs.ray_tasks import run_tasks
from scenerec.inference.bulk.plan import PlannedOutput
from scenerec.inference.bulk.prediction import ImageCount, finish, open_asked, prepare
from scenerec.inference.bulk.predictor import BulkPredictor
from scenerec.inference.bulk.request import PredictRequest
from scenerec.inference.bundles.bundle import Bundle
from scenerec.job_log import Note
from scenerec.json_object import JsonObject
from scenerec.storage import Patience

_PATIENCE = Patience(budget_s=600.0)  # with a store that is away


class PartTask(NamedTuple):
    """What a Ray task is given: a part that it shall answer, and write."""

    request: PredictRequest
    planned: PlannedOutput
    number: int


def run_file(file: str) -> JsonObject:
    """Predicts what the request in `file` asks for; returns what the result says of it. Raises ScenerecError."""
    request = PredictRequest.model_validate_json(Path(file).read_bytes())
    ray.init(log_to_driver=False, logging_level="ERROR")
    BulkPredictor(open_asked(request, _PATIENCE), request.question, threads=1)  # refuses before anything is listed
    planned = prepare(request, _PATIENCE)
    missing = planned.missing()
    parts = len(planned.plan.parts)
    there = f"{parts - len(missing)} of {parts} parts are there"
    say(Note(f"{planned.plan.images} images, {there}, for {request.workers} workers"))
    count = ImageCount(planned, missing, ImageNotes())
    tasks = (PartTask(request, planned, number) for number in missing)
    for answered in run_tasks(answer_part, tasks, request.workers, max(1, request.threads)):
        count.add(answered)
    return asdict(finish(request, planned, count, _PATIENCE))


def answer_part(task: PartTask) -> int:
    """Answers a part of the listing and writes its table; returns how many images it has. Raises ScenerecError."""
    bundle, predictor = _opened(task.request)
    (answers,) = predictor.answer([task.planned.part(task.number)])
    task.planned.write(task.number, answers, bundle.info)
    return answers.asked


@lru_cache(maxsize=1)
def _opened(request: PredictRequest) -> tuple[Bundle, BulkPredictor]:
    """The model of this process: opened once, for all parts that come here."""
    bundle = open_asked(request, _PATIENCE)
    return bundle, BulkPredictor(bundle, request.question, max(1, request.threads), _PATIENCE)


if __name__ == "__main__":
    sys.exit(main("jobs.predict"))
