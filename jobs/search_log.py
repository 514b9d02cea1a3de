"""The record of a search under way: each trial's file, the sampler's knowledge, and the lines of the job's log."""

import time
from collections.abc import Callable, Iterable

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from typing_extensions import override

from jobs.orphans import remove_orphaned_placement_groups
from scenerec.config.space import Point, describe_point
from scenerec.config.tune import TuneConfig
from scenerec.errors import last_line
from scenerec.job_log import Event, SearchNews, TrialNews
from scenerec.json_object import JsonObject
from scenerec.search.levels import most_epochs, trial_levels
from scenerec.search.samplers import Sampler
from scenerec.search.standing import leaderboard, savings
from scenerec.search.trial import Trial
from scenerec.search.trial_store import SearchFolder
from scenerec.training.run_folder import RunFolder

_SWEEP_EVERY_S = 5.0

Say = Callable[[Event], None]
Watch = Callable[[Iterable[Trial]], None]
"""Is told how all trials stand, whenever one of them stands differently."""


class SearchLog(tune.Callback):
    """The record that Tune's driver keeps of a search, as Tune tells it what happens; the folder's only writer."""

    def __init__(
        self, config: TuneConfig, session: str, sampler: Sampler, earlier: list[Trial], say: Say, watch: Watch
    ) -> None:
        self.config, self.session, self.sampler, self.say, self.watch = config, session, sampler, say, watch
        self.folder = SearchFolder(config.run_url, config.base.data.patience)
        self.trials = {trial.number: trial for trial in earlier}
        self.started_s: dict[int, float] = {}
        self.began_s = time.monotonic()
        self.ended_before = sum(trial.is_ended for trial in earlier)
        self.cost_before = sum(trial.cost for trial in earlier)
        self.failures_in_a_row = 0
        self.sweep_at_s = self.began_s

    def __getstate__(self) -> dict[str, object]:
        """What Tune saves of it, which nobody loads: without `watch`, which may have a thread."""
        return {name: value for name, value in self.__dict__.items() if name != "watch"}

    @property
    def gives_up(self) -> bool:
        """Whether so many trials have failed one after the other that the next would fail as well."""
        return self.failures_in_a_row >= self.config.give_up_after

    def next_number(self) -> int:
        """Number of the next trial that is proposed."""
        return max(self.trials, default=-1) + 1

    def propose(self, number: int, point: Point) -> bool:
        """Records a new trial; returns whether its values go together: if not, it is refused and never runs."""
        try:
            levels = trial_levels(self.config, number, point)
        except ValueError as error:
            refused = Trial(number=number, point=point, state="refused", reason=str(error))
            self._record(refused)
            self.sampler.tell(refused)
            return False
        epochs = sum(level.config.optimize.epochs for level in levels)
        self._record(Trial(number=number, point=point, state="running", epochs=epochs))
        return True

    @override
    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: object) -> None:
        number = int(str(trial))
        self.started_s.setdefault(number, time.monotonic())
        self._record(self.trials[number].model_copy(update={"state": "running"}))

    @override
    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: JsonObject, **info: object
    ) -> None:
        self._record(self._as_it_stands(int(str(trial)), trial, result))

    @override
    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: object) -> None:
        """Looks for trials that are paused: Tune does not tell of them."""
        if time.monotonic() > self.sweep_at_s:
            self.sweep_at_s = time.monotonic() + _SWEEP_EVERY_S
            remove_orphaned_placement_groups(ray.get_runtime_context().get_job_id())
        for trial in trials:
            if trial.status == TuneTrial.PAUSED and (paused := self.trials[int(str(trial))]).state == "running":
                self._record(paused.model_copy(update={"state": "paused"}))
                self.sampler.tell(self.trials[paused.number])

    @override
    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: object) -> None:
        """Records a trial that has come to its end, or that the scheduler has stopped."""
        number = int(str(trial))
        seen = self._as_it_stands(number, trial, trial.last_result or {})
        if reason := self.folder.read_failure(number, self.session):
            self._end(seen.model_copy(update={"state": "failed", "reason": reason}))
        else:
            self._end(seen.model_copy(update={"state": "finished" if seen.epochs_done >= seen.epochs else "stopped"}))

    @override
    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: object) -> None:
        """Records a trial whose driver has died more often than Tune begins it anew."""
        reason = last_line(str(trial.get_error() or ""), "its driver was killed")
        number = int(str(trial))
        seen = self._as_it_stands(number, trial, trial.last_result or {})
        self._end(seen.model_copy(update={"state": "failed", "reason": reason}))

    def close(self) -> list[Trial]:
        """All trials; one that was still running when the time was up is a stopped one."""
        for trial in list(self.trials.values()):
            if not trial.is_ended:
                state, reason = "stopped" if trial.history else "failed", "the time of the search was up"
                self._end(trial.model_copy(update={"state": state, "reason": reason}))
        return sorted(self.trials.values(), key=lambda trial: trial.number)

    def _as_it_stands(self, number: int, trial: TuneTrial, result: JsonObject) -> Trial:
        """The recorded trial, brought up to what its newest run tells."""
        recorded = self.trials[number]
        if "level" not in result:
            return recorded
        point, part = trial.config["trial"]["point"], int(result["part"])
        levels = trial_levels(self.config, number, point, part)
        level = levels[int(result["level"]) - 1]
        history = tuple(RunFolder(level.config.run_url, self.config.base.data.patience).read_history())
        before = [each.config.optimize.epochs for each in levels[: level.number - 1]]
        costs = [epochs * each.cost for epochs, each in zip(before, levels, strict=False)]
        static = {name: result[name] for name in ("parameters", "gflops", "latency_ms") if name in result}
        return recorded.model_copy(
            update={
                "point": point,
                "level": level.number,
                "epochs_done": sum(before) + len(history),
                "cost": _cost(recorded, part, sum(costs) + len(history) * level.cost, len(history)),
                "run": level.config.run_url,
                "history": history,
                "static": static,
                "parts": part,
                "time_s": round(recorded.time_s if number not in self.started_s else self._seconds(number), 1),
            }
        )

    def _seconds(self, number: int) -> float:
        return time.monotonic() - self.started_s[number]

    def _end(self, trial: Trial) -> None:
        self.failures_in_a_row = self.failures_in_a_row + 1 if trial.state == "failed" else 0
        self._record(trial)
        self.sampler.tell(trial)
        if trial.run:
            notes = RunFolder(trial.run, self.config.base.data.patience).storage
            for info in list(notes.list("ray/")):
                notes.delete(info.key)

    def _record(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self.folder.write(trial)
        self.watch(self.trials.values())
        self.say(self._trial_news(trial))
        self.say(self._search_news())

    def _trial_news(self, trial: Trial) -> TrialNews:
        objective = self.config.objective[0]
        newest = trial.history[-1].validation if trial.history else {}
        return TrialNews(
            number=trial.number,
            state=trial.state,
            epoch=trial.epochs_done,
            epochs=trial.epochs,
            objective=objective,
            value=newest.get(objective),
            best=trial.value(objective),
            point=describe_point(trial.point),
            reason=trial.reason,
        )

    def _search_news(self) -> SearchNews:
        trials = list(self.trials.values())
        ended = sum(trial.is_ended for trial in trials)
        best = next(iter(leaderboard(trials, self.config.objective)), None)
        value = best.value(self.config.objective[0]) if best else None
        saved = savings(self.config, trials)
        return SearchNews(
            ended=ended,
            trials=self.config.trials,
            running=sum(trial.state == "running" for trial in trials),
            best_trial=best.number if best and value is not None else None,
            best=value,
            objective=self.config.objective[0],
            epochs=saved.epochs,
            full_epochs=saved.full_epochs,
            eta_s=self._eta_s(trials, ended),
        )

    def _eta_s(self, trials: list[Trial], ended: int) -> float:
        """Seconds to the end, by the trials that ended in this session; before the first, by epochs."""
        elapsed_s = time.monotonic() - self.began_s
        if here := ended - self.ended_before:
            return elapsed_s / here * max(0, self.config.trials - ended)
        epochs = sum(trial.cost for trial in trials) - self.cost_before
        return elapsed_s / epochs * (self.config.trials * most_epochs(self.config) - epochs) if epochs else float("inf")


def _cost(recorded: Trial, part: int, run_cost: float, epochs: int) -> float:
    """Epochs spent. A part that began with a copy of another trial has not paid for the epochs before it."""
    if not part:
        return run_cost
    return recorded.cost + (1 if part > recorded.parts else epochs - recorded.epochs_done)
