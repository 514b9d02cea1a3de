"""The evaluation job: `python -m jobs.evaluate request.json` on the cluster predicts the shares of a set in tasks."""

import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import ray

from jobs.log import ImageNotes, say
from jobs.main import main
from jobs.ray_tasks import run_tasks
from scenerec.inference.evaluation.evaluator import Answers, AnyOutcome, Examiner, evaluate, merge_answers
from scenerec.inference.evaluation.predictions import shares
from scenerec.inference.evaluation.report import write_outcome
from scenerec.inference.evaluation.request import EvaluationRequest, Subject
from scenerec.job_log import Note
from scenerec.json_object import JsonObject
from scenerec.storage.writable import check_writable

SHARES_PER_WORKER = 8
"""A worker that is slow, or lost, costs the others an eighth of its part."""


class Share(NamedTuple):
    """What a Ray task is given: a model and the samples that it shall predict."""

    request: EvaluationRequest
    subject: Subject
    samples: range


def run_file(file: str) -> JsonObject:
    """Evaluates what the request in `file` asks for; returns what the result says of it. Raises ScenerecError."""
    request = EvaluationRequest.model_validate_json(Path(file).read_bytes())
    if request.output:
        check_writable(request.output)
    ray.init(log_to_driver=False, logging_level="ERROR")
    return evaluate_on_cluster(request).as_dict()


def evaluate_on_cluster(request: EvaluationRequest) -> AnyOutcome:
    """Evaluates on the cluster that Ray is connected to, and writes what it finds where that is asked for.

    Raises ScenerecError.
    """
    outcome = evaluate(request, partial(_predict_on_cluster, request))
    if request.output:
        write_outcome(outcome, request.output)
    return outcome


def predict_share(share: Share) -> Answers:
    """The model's answers for the samples of a share."""
    return _examiner(share.request, share.subject).predict(share.samples)


@lru_cache(maxsize=1)
def _examiner(request: EvaluationRequest, subject: Subject) -> Examiner:
    """The model of this process: opened once, for all shares that come here."""
    return Examiner(request, subject)


def _predict_on_cluster(request: EvaluationRequest, subject: Subject, samples: int) -> Answers:
    """The answers of the cluster that Ray is connected to; it says now and then how far it is."""
    notes = ImageNotes()
    cuts = shares(samples, request.images_per_batch, request.workers * SHARES_PER_WORKER)
    tasks = (Share(request, subject, cut) for cut in cuts)
    say(Note(f"{subject.target}: {samples} images in {len(cuts)} shares for {request.workers} workers"))
    notes(0, samples)
    parts, done = [], 0
    for part in run_tasks(predict_share, tasks, request.workers, max(1, request.threads), request.gpus_per_worker):
        parts.append(part)
        done += len(part.labels)
        notes(done, samples)
    return merge_answers(parts)


if __name__ == "__main__":
    sys.exit(main("jobs.evaluate"))
