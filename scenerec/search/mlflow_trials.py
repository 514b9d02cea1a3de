"""Shows the trials of a search in MLflow, each when it has ended."""

from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from scenerec.config.tune import TuneConfig
from scenerec.job_log import Event, Note
from scenerec.search.levels import trial_name
from scenerec.search.trial import Trial
from scenerec.search.trial_store import SearchFolder
from scenerec.training.mlflow_run import MlflowRun, State
from scenerec.training.mlflow_thread import MlflowThread
from scenerec.training.run_folder import RunFolder

_STATES: dict[str, State] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowTrials(MlflowThread):
    """Shows the trials of a search in MLflow until the context ends, also those of earlier sessions that it lacks.

    Args:
        config: of the search; `base.track.mlflow` is set.
        say: tells the job's log, in a line, of a server that does not answer.
        tags: of each MLflow run, beside those that follow from its config.
        thread: more of `MlflowThread`.

    Raises MissingPartError where MLflow's client is not installed.
    """

    def __init__(
        self, config: TuneConfig, say: Callable[[Event], None], tags: Mapping[str, str] = {}, **thread: Any
    ) -> None:
        super().__init__(config.base.track, "trials of this search", say, **thread)
        self._config, self._tags = config, dict(tags)
        self._folder = SearchFolder(config.run_url)
        self._shown = set[int]()

    @override
    def catch_up(self) -> None:
        """Sends the trials that have ended since; those that never trained have nothing to show."""
        for trial in self._folder.trials():
            if trial.state in _STATES and trial.run and trial.number not in self._shown:
                self._show(trial, RunFolder(trial.run))

    @override
    def finish(self, state: State) -> None:
        """See MlflowThread. After a session that was killed the next one sends what is lacking."""
        if state != "KILLED":
            self.catch_up()

    def _show(self, trial: Trial, folder: RunFolder) -> None:
        if starts := folder.read_starts():
            name = f"{self._config.name}/{trial_name(trial.number)}"
            tags = {**self._tags, "scenerec.search": self._config.run_url, "scenerec.trial": trial.state}
            run = MlflowRun(folder.read_config(), starts[0].time_s, tags, name)
            run.tell(folder.read_steps(), folder.read_history())
            run.end(_STATES[trial.state])
            if not self._shown:
                self.say(Note(f"{self.where} shows the trials that have ended, such as {run.address}"))
        self._shown.add(trial.number)
