"""Whether runs differ by more than chance: paired, over the images of a set to which both have answered."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.errors import DataError
from scenerec.inference.evaluation.significance import Comparison, compare
from scenerec.inference.evaluation.stored import StoredAnswers, stored_answers
from scenerec.training.run_overview import RunOverview

_Key = tuple[str, int, int]  # fingerprint of the set, crops, and images


@dataclass(frozen=True)
class RankedRun:
    """A run among those that answered to the same images."""

    run: int
    """Number of the run among all that are compared, from 0."""
    top1: float
    """Share of the images that it gets right."""
    against_best: Comparison | None
    """The best run (A) and this one (B); None of the best itself."""
    words: str
    """The same in plain words; empty of the best."""


@dataclass(frozen=True)
class Ranking:
    """Runs in order of the accuracy on a set, each compared with the best."""

    data: str
    """Address of the set."""
    samples: int
    """Its images."""
    runs: tuple[RankedRun, ...]
    """The best first."""


def rank(runs: Sequence[RunOverview]) -> Ranking | None:
    """Ranks the runs whose best checkpoints have answered to the same set; None where no two have.

    Of several sets it is the one that most runs have answered to. Raises DataError for damaged answers, StorageError.
    """
    found = [{_key(each): each for each in best_answers(run)} for run in runs]
    counted = Counter(key for answers in found for key in answers)
    key, count = max(counted.items(), key=lambda item: item[1], default=(None, 0))
    if key is None or count < 2:
        return None
    answered = {number: answers[key] for number, answers in enumerate(found) if key in answers}
    order = sorted(answered, key=lambda number: -answered[number].top1)
    best = answered[order[0]]
    ranked = [RankedRun(order[0], best.top1, None, "")]
    for number in order[1:]:
        compared = _compare(best, answered[number])
        words = compared.words(runs[order[0]].name, runs[number].name)
        ranked.append(RankedRun(number, answered[number].top1, compared, words))
    return Ranking(best.data, len(best.labels), tuple(ranked))


def best_answers(run: RunOverview) -> list[StoredAnswers]:
    """What the run's best checkpoint has answered, a set each. Raises DataError, StorageError."""
    return [each for each in stored_answers(run.url) if each.predictor == run.best_checkpoint]


def _key(answers: StoredAnswers) -> _Key:
    return answers.fingerprint, answers.crops, len(answers.labels)


def _compare(best: StoredAnswers, other: StoredAnswers) -> Comparison:
    if not np.array_equal(best.labels, other.labels):
        raise DataError(
            f"{other.predictor}: its answers are to other labels than those of {best.predictor}: evaluate again"
        )
    return compare(best.labels, best.predicted, other.predicted)
