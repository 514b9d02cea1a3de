"""Shows a training run in MLflow while it goes on, without touching it.

What is sent is read from the run's folder, which the run writes anyway: the folder is the buffer. So MLflow has each
step once, as steps.jsonl has, and what a server that was away has missed is sent when it is back.
"""

from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from scenerec.config.run import RunConfig
from scenerec.job_log import Event, Note
from scenerec.training.mlflow_run import MlflowRun, State
from scenerec.training.mlflow_thread import MlflowThread
from scenerec.training.run_folder import CONFIG_FILE, REPORT_FILE, RESULT_FILE, RunFolder


class MlflowMirror(MlflowThread):
    """Shows a run in MLflow until the context ends; then it says how the run has ended.

    Args:
        config: of the run; `track.mlflow` is set.
        say: tells the job's log, in a line, of a server that does not answer.
        tags: of the MLflow run, beside those that follow from the config.
        thread: more of `MlflowThread`.

    Raises MissingPartError where MLflow's client is not installed.
    """

    def __init__(
        self, config: RunConfig, say: Callable[[Event], None], tags: Mapping[str, str] = {}, **thread: Any
    ) -> None:
        super().__init__(config.track, "this run", say, **thread)
        self._config, self._tags = config, dict(tags)
        self._folder = RunFolder(config.run_url)
        self._run: MlflowRun | None = None
        self._seen: tuple[int | str | None, ...] = ()

    @override
    def catch_up(self) -> None:
        """Sends what is new in the run's folder; nothing before the workers have begun."""
        sizes = [self._folder.storage.size(name) for name in ("starts.jsonl", "steps.jsonl", "metrics.jsonl")]
        newest = self._folder.latest_checkpoint()
        if (*sizes, newest) == self._seen:
            return
        if starts := self._folder.read_starts():
            self._run = self._run or self._begin(starts[0].time_s)
            done = int(newest.removeprefix("step-")) if newest else 0
            lines = [line for line in self._folder.read_steps() if line.global_step <= done]  # none that may be redone
            self._run.tell(lines, self._folder.read_history())
        self._seen = (*sizes, newest)

    def _begin(self, began_s: float) -> MlflowRun:
        run = MlflowRun(self._config, began_s, self._tags)
        self.say(Note(f"{self.where} shows this run: {run.address}"))
        return run

    @override
    def finish(self, state: State) -> None:
        """See MlflowThread. Of a run that was killed nothing more is sent: there is no time, and it will go on."""
        if state != "KILLED":
            self.catch_up()
        if self._run:
            if state == "FINISHED":
                self._run.attach(self._folder, (CONFIG_FILE, RESULT_FILE, REPORT_FILE))
            self._run.end(state)
