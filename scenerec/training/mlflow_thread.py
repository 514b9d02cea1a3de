"""A thread that shows in MLflow what a folder gains, without touching the job that fills it."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from typing_extensions import override

from scenerec.config.track import TrackConfig
from scenerec.errors import MissingPartError, first_line
from scenerec.job_log import Event, Note
from scenerec.training.mlflow_run import State

_FIRST_S, _EVERY_S = 1.0, 10.0
_LAST_TRIES_S = {"FINISHED": 30.0, "FAILED": 10.0, "KILLED": 1.5}  # a job that is stopped has three seconds


class MlflowThread(AbstractContextManager["MlflowThread"], ABC):
    """Looks into a folder from a thread of its own, until the context ends, and tells MLflow what is new.

    Args:
        track: where MLflow is; `track.mlflow` is set.
        what: is shown, such as "this run", for messages.
        say: tells the job's log, in a line, of a server that does not answer.
        every_s: seconds from one look to the next.

    Raises MissingPartError where MLflow's client is not installed.
    """

    def __init__(self, track: TrackConfig, what: str, say: Callable[[Event], None], every_s: float = _EVERY_S) -> None:
        if find_spec("mlflow") is None:
            raise MissingPartError("track.mlflow: needs mlflow where the job runs: pip install 'scenerec[mlflow]'")
        self._what, self.say, self._every_s = what, say, every_s
        self.where = f"MLflow at {track.mlflow}"
        self._state: State = "RUNNING"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mlflow", daemon=True)

    @abstractmethod
    def catch_up(self) -> None:
        """Tells MLflow what it lacks. It may raise what MLflow and the store raise, and is called again then."""

    @abstractmethod
    def finish(self, state: State) -> None:
        """Tells MLflow the last, and how it has ended. As above."""

    @override
    def __enter__(self) -> Self:
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
            problem = _try(self.catch_up)
            if problem and not has_complained:
                self.say(Note(f"{self.where} lacks {self._what} for now, and is asked again: {problem}"))
            has_complained = has_complained or bool(problem)
        ends_s = time.monotonic() + _LAST_TRIES_S[self._state]
        while problem := _try(lambda: self.finish(self._state)):
            if time.monotonic() > ends_s:
                self.say(Note(f"{self.where} lacks the end of {self._what}, and is given up: {problem}"))
                return
            time.sleep(min(1.0, self._every_s))


def _try(act: Callable[[], None]) -> str | None:
    """Does it; returns why it could not be done: what MLflow or the store raises must not reach the job."""
    try:
        act()
    except Exception as error:
        return first_line(error)
    return None
