"""Successive halving on Ray Tune: trials pause at rungs, free their workers, and go on from their checkpoints.

Ray's own ASHA stops a trial by whoever was at the rung before it, and its HyperBand halves whoever runs at once. This
one promotes (see `scenerec.search.halving`), and decides who runs: a paused trial takes no place, and a promoted one
goes before a new one.
"""

from collections.abc import Sequence

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from typing_extensions import override

from scenerec.json_object import JsonObject
from scenerec.search.halving import Halving
from scenerec.search.objectives import towards_better

_DECISIONS = {"go on": TrialScheduler.CONTINUE, "wait": TrialScheduler.PAUSE, "stop": TrialScheduler.STOP}


class HalvingScheduler(TrialScheduler):
    """Tune's scheduler; trials are known by their numbers, which are their names."""

    def __init__(self, halving: Halving, objective: str, time_attr: str, most_at_once: int) -> None:
        super().__init__()
        self.halving, self.objective, self.time_attr, self.most_at_once = halving, objective, time_attr, most_at_once
        self.best: dict[int, float] = {}
        self.running: set[int] = set()

    def may_begin(self) -> bool:
        """Whether there is a place for a new trial, and no other has to go on first."""
        return len(self.running) < self.most_at_once and self.halving.next() is None

    @override
    def on_trial_add(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        self.halving.begin(_number(trial))
        self.running.add(_number(trial))

    @override
    def on_trial_result(self, tune_controller: TuneController, trial: TuneTrial, result: JsonObject) -> str:
        """Judges a trial. The best epoch so far counts, as it does in the end; a last epoch is not judged."""
        number = _number(trial)
        value = result.get(self.objective)
        if value is not None:
            better = towards_better(self.objective, value)
            self.best[number] = max(better, self.best.get(number, better))
        verdict = self.halving.reach(number, result[self.time_attr], self.best.get(number))
        if verdict == "wait" and not result["is_last"]:
            self.running.discard(number)
        return _DECISIONS["go on" if result["is_last"] else verdict]

    @override
    def on_trial_complete(self, tune_controller: TuneController, trial: TuneTrial, result: JsonObject) -> None:
        self._end(trial)

    @override
    def on_trial_error(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        self._end(trial)

    @override
    def on_trial_remove(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        self._end(trial)

    @override
    def choose_trial_to_run(self, tune_controller: TuneController) -> TuneTrial | None:
        """Tune asks at every step: trials that cannot go on any more are stopped here."""
        trials: Sequence[TuneTrial] = tune_controller.get_trials()
        if tune_controller.search_alg.is_finished():
            self.halving.close()
        paused = {_number(trial): trial for trial in trials if trial.status == TuneTrial.PAUSED}
        for lost in list(self.halving.lost()):
            if lost in paused:
                tune_controller.stop_trial(paused.pop(lost))
        if pending := next((trial for trial in trials if trial.status == TuneTrial.PENDING), None):
            return pending
        number = self.halving.next()
        if number not in paused or len(self.running) >= self.most_at_once:
            return None  # it may be on its way to a pause
        self.halving.promote(number)
        self.running.add(number)
        return paused[number]

    @override
    def debug_string(self) -> str:
        return f"successive halving: {len(self.running)} running"

    @override
    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: a session goes on from the trials' own files."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing, as nothing was saved."""

    def _end(self, trial: TuneTrial) -> None:
        self.halving.end(_number(trial))
        self.running.discard(_number(trial))


def _number(trial: TuneTrial) -> int:
    return int(str(trial))
