"""The evaluation job: `python -m jobs.evaluate request.json` on the cluster predicts the shares of a set in tasks."""

import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ray

from jobs.tasks import run_tasks
from scenerec.errors import ScenerecError
from scenerec.inference.evaluation.evaluator import Examiner, check_writable, evaluate
from scenerec.inference.evaluation.predictions import Predictions, merge, shares
from scenerec.inference.evaluation.report import write_outcome
from scenerec.inference.evaluation.request import EvaluationRequest, Subject
from scenerec.job_log import Event, Failure, Note, RunResult, format_line

NOTE_EVERY_S = 10.0
SHARES_PER_WORKER = 8
"""A worker that is slow, or lost, costs the others an eighth of its part."""


class Share(NamedTuple):
    """A task: a model and the samples that it shall predict."""

    request: EvaluationRequest
    subject: Subject
    samples: range


def main(request_file: str) -> int:
    """Evaluates what `request_file` asks for; returns the exit code. Prints lines of `scenerec.job_log`."""
    try:
        request = EvaluationRequest.model_validate_json(Path(request_file).read_bytes())
        if request.output:
            check_writable(request.output)
        ray.init(log_to_driver=False, logging_level="ERROR")
        outcome = evaluate(request, _Workers(request).predict)
        if request.output:
            write_outcome(outcome, request.output)
        _say(RunResult(outcome.as_dict()))
    except ScenerecError as error:
        _say(Failure(str(error)))
        return error.exit_code
    return 0


def predict_share(share: Share) -> Predictions:
    """A task: the answers for its samples."""
    return _examiner(share.request, share.subject).predict(share.samples)


@lru_cache(maxsize=1)
def _examiner(request: EvaluationRequest, subject: Subject) -> Examiner:
    """The model of this process: opened once, for all shares that come here."""
    return Examiner(request, subject)


class _Workers:
    """Predicts on the cluster that Ray is connected to, and says now and then how far it is."""

    def __init__(self, request: EvaluationRequest) -> None:
        self.request = request

    def predict(self, subject: Subject, samples: int) -> Predictions:
        request, began_s = self.request, time.monotonic()
        cuts = shares(samples, request.images_per_batch, request.workers * SHARES_PER_WORKER)
        tasks = (Share(request, subject, cut) for cut in cuts)
        cpus, gpus = max(1, request.threads), request.gpus_per_worker
        _say(Note(f"{subject.target}: {samples} images in {len(cuts)} shares for {request.workers} workers"))
        parts, done, said_s = [], 0, began_s
        for part in run_tasks(predict_share, tasks, request.workers, cpus, gpus):
            parts.append(part)
            done += len(part.labels)
            now_s = time.monotonic()
            if now_s - said_s >= NOTE_EVERY_S or done == samples:
                _say(Note(f"{done} of {samples} images, {done / (now_s - began_s):.0f} images/s"))
                said_s = now_s
        return merge(parts)


def _say(event: Event) -> None:
    print(format_line(event), flush=True)


if __name__ == "__main__":
    # By its importable name: functions of __main__ would travel to the workers by value, and keep no model.
    from jobs.evaluate import main as imported_main

    sys.exit(imported_main(sys.argv[1]))
