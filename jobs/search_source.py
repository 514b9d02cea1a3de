"""Where Ray Tune gets its trials from: what an earlier session left unfinished, then what the sampler proposes."""

from collections.abc import Callable

from ray.tune.search import Searcher
from typing_extensions import override

from jobs.search_log import SearchLog
from scenerec.json_object import JsonObject
from scenerec.search.trial import Trial


class TrialSource(Searcher):
    """Tune's searcher: it asks the sampler and keeps no state of its own that would have to be saved."""

    def __init__(
        self, log: SearchLog, unfinished: list[Trial], metric: str, mode: str, may_begin: Callable[[], bool]
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self.log, self.may_begin = log, may_begin
        self.waiting = list(unfinished)

    @override
    def suggest(self, trial_id: str) -> JsonObject | str | None:
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

    def population(self) -> list[JsonObject]:
        """The settings of all trials at once, for a scheduler that has no searcher beside it."""
        members = []
        while isinstance(settings := self.suggest(""), dict):
            members.append(settings["trial"])
        return members

    @override
    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        """Does nothing: the log tells the sampler, with the whole history."""

    @override
    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: a session goes on from the trials' own files."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing, as nothing was saved."""


def trial_settings(trial: Trial) -> JsonObject:
    """The settings that Tune gives to `jobs.trial.run_trial`, and that a population changes."""
    return {"trial": {"number": trial.number, "point": trial.point, "part": trial.parts}}
