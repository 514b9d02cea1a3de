"""Shows a training run in MLflow while it goes on, without touching it.

What is sent is read from the run's folder, which the run writes anyway: the folder is the buffer. So MLflow has each
step once, as steps.jsonl has, and what a server that was away has missed is sent when it is back.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from types import TracebackType

from typing_extensions import override

from scenerec.config.run import RunConfig
from scenerec.errors import MissingPartError, first_line
from scenerec.job_log import Event, Note
from scenerec.training.mlflow_run import MlflowRun, State
from scenerec.training.run_folder import CONFIG_FILE, REPORT_FILE, RESULT_FILE, RunFolder

_FIRST_S, _EVERY_S = 1.0, 10.0
_LAST_TRIES_S = {"FINISHED": 30.0, "FAILED": 10.0, "KILLED": 1.5}  # a job that is stopped has three seconds


class MlflowMirror(AbstractContextManager["MlflowMirror"]):
    """Shows a run in MLflow from a thread of its own, until the context ends; then it says how the run has ended.

    Args:
        config: of the run; `track.mlflow` is set.
        say: tells the job's log, in a line, of a server that does not answer.
        tags: of the MLflow run, beside those that follow from the config.
        every_s: seconds from one look into the run's folder to the next.

    Raises MissingPartError where MLflow's client is not installed.
    """

    def __init__(
        self, config: RunConfig, say: Callable[[Event], None], tags: Mapping[str, str] = {}, every_s: float = _EVERY_S
    ) -> None:
        if find_spec("mlflow") is None:
            raise MissingPartError("track.mlflow: needs mlflow where the job runs: pip install 'scenerec[mlflow]'")
        self._config, self._say, self._tags, self._every_s = config, say, dict(tags), every_s
        self._folder = RunFolder(config.run_url)
        self._run: MlflowRun | None = None
        self._seen: tuple[int | str | None, ...] = ()
        self._state: State = "RUNNING"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mlflow", daemon=True)

    @override
    def __enter__(self) -> "MlflowMirror":
        self._thread.start()
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
        self._over.set()
        self._thread.join(_LAST_TRIES_S[self._state] + 1)  # a request under way may take longer: it is let go

    def _keep(self) -> None:
        has_complained, wait_s = False, min(_FIRST_S, self._every_s)
        while not self._over.wait(wait_s):
            wait_s = self._every_s
            problem = self._try(self._catch_up)
            if problem and not has_complained:
                self._say(Note(f"{self._where} lacks this run for now, and is asked again: {problem}"))
            has_complained = has_complained or bool(problem)
        ends_s = time.monotonic() + _LAST_TRIES_S[self._state]
        while problem := self._try(self._finish):
            if time.monotonic() > ends_s:
                self._say(Note(f"{self._where} lacks the end of this run, and is given up: {problem}"))
                return
            time.sleep(min(1.0, self._every_s))

    def _try(self, act: Callable[[], None]) -> str | None:
        """Does it; returns why it could not be done: what MLflow or the store raises must not reach the training."""
        try:
            act()
        except Exception as error:
            return first_line(error)
        return None

    @property
    def _where(self) -> str:
        return f"MLflow at {self._config.track.mlflow}"

    def _catch_up(self) -> None:
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
        self._say(Note(f"{self._where} shows this run: {run.address}"))
        return run

    def _finish(self) -> None:
        if self._state != "KILLED":  # then there is no time, and the run will go on
            self._catch_up()
        if self._run:
            if self._state == "FINISHED":
                self._run.attach(self._folder, (CONFIG_FILE, RESULT_FILE, REPORT_FILE))
            self._run.end(self._state)
