"""Where Ray Tune gets its trials from: what an earlier session left unfinished, then what the sampler proposes."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from jobs.search_log import SearchLog
from scenerec.search.trial import Trial


class TrialSource(Searcher):
    """Tune's searcher: it asks the sampler and keeps no state of its own that would have to be saved."""

    def __init__(
        self, log: SearchLog, unfinished: list[Trial], metric: str, mode: str, may_begin: Callable[[], bool]
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self.log, self.may_begin = log, may_begin
        self.waiting = list(unfinished)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Settings of the next trial for `jobs.trial.run_trial`, FINISHED where there is none, None: ask again."""
        if self.log.gives_up:
            return Searcher.FINISHED
        if not self.may_begin():
            return None
        if self.waiting:
            return trial_settings(self.waiting.pop(0))
        while (number := self.log.next_number()) < self.log.config.trials:
            point = self.log.sampler.propose(number)
            if point is None:
                break
            if self.log.propose(number, point):
                return trial_settings(self.log.trials[number])
        return Searcher.FINISHED

    def population(self) -> list[dict[str, Any]]:
        """The settings of all trials at once, for a scheduler that has no searcher beside it."""
        members = []
        while isinstance(settings := self.suggest(""), dict):
            members.append(settings["trial"])
        return members

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the log tells the sampler, with the whole history."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a session goes on from the trials' own files."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""


def trial_settings(trial: Trial) -> dict[str, Any]:
    """What Tune gives to `run_trial`, and a population changes."""
    return {"trial": {"number": trial.number, "point": trial.point, "part": trial.parts}}
