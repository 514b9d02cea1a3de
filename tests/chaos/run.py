"""A run that is submitted as often as it must be, and what its log says while it runs."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from cluster.client import ClusterClient
from scenerec.errors import ClusterError
from scenerec.job_log import Event, Progress, Restart, parse_line
from scenerec.storage import Patience
from scenerec.training.run_folder import RunFolder
from scenerec.training.sample_log import logged_batches
from tests.chaos.report import Learned, Trained
from tests.chaos.timeline import Timeline

_RANK = re.compile(r"\(ip=([^,]+), pid=\d+\) world_rank=(\d+)")
_PATIENCE = Patience(budget_s=120)
_PAUSE_S = 2.0
_MOST_SUBMISSIONS = 100


class Run:
    """A job at a run, which is submitted again whenever it ends before the run does, as a user would.

    Args:
        client: of the cluster.
        document: its YAML.
        folder: for the file, and for the log.
    """

    def __init__(self, client: ClusterClient, document: dict[str, Any], folder: Path) -> None:
        self.name = str(document["name"])
        self.events: list[tuple[float, Event]] = []
        """What it said, and when, in seconds of the monotonic clock."""
        self.step = 0
        """Steps that are done, as far as the run has ever come."""
        self.submissions = 0
        self.ranks: dict[int, str] = {}
        """The address of the node on which each rank runs, of the newest workers."""
        self.problem = ""
        """Why it did not come to its end."""
        self._is_given_up = False
        self._client = client
        self._folder = RunFolder(f"{document['output']}/{self.name}", _PATIENCE)
        self._file = folder / f"{self.name}.yaml"
        self._file.write_text(yaml.safe_dump(document))
        self._log = folder / f"{self.name}.log"
        self._thread = threading.Thread(target=self._go_on, daemon=True, name=self.name)

    def start(self) -> None:
        """Submits it."""
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        """Whether it has neither ended nor been given up."""
        return self._thread.is_alive() and not self._is_given_up

    def give_up(self, problem: str) -> None:
        """Waits for it no more, for this reason."""
        self.problem, self._is_given_up = problem, True

    @property
    def timeline(self) -> Timeline:
        """Its steps so far."""
        return Timeline.of(list(self.events))

    @property
    def restarts(self) -> int:
        """How often its workers were started again for an error."""
        return sum(isinstance(event, Restart) for _, event in list(self.events))

    def trained(self) -> Trained:
        """What it was trained on, and what it has learned. Raises CheckpointError, StorageError."""
        history = self._folder.read_history()
        return Trained(
            batches=list(logged_batches(self._folder.samples, history[-1].global_step)) if history else [],
            epochs=[
                Learned(each.epoch, each.global_step, each.train_loss, each.validation, each.lr) for each in history
            ],
        )

    def _go_on(self) -> None:
        while self.submissions < _MOST_SUBMISSIONS:
            job, told = self._submit()
            if job is None:
                self.problem = told
            elif self._follow(job):
                self.problem = ""
                return
            time.sleep(_PAUSE_S)
        self.problem = f"did not end within {_MOST_SUBMISSIONS} submissions: {self.problem}"

    def _submit(self) -> tuple[str | None, str]:
        """The job, or None and why there is none: the store may be away, the run may still be another job's."""
        self.submissions += 1
        command = [sys.executable, "-m", "scenerec", "submit", str(self._file), "--detach", "--no-cluster-check"]
        done = subprocess.run(command, capture_output=True, text=True)
        found = re.search(r"^job (\S+), dashboard", done.stdout, re.MULTILINE)
        self._write(done.stdout + done.stderr)
        return (found[1] if found else None), (done.stdout + done.stderr)[-500:]

    def _follow(self, job: str) -> bool:
        """Whether the job came to the end of the run."""
        try:
            for line in self._client.follow(job):
                at_s = time.monotonic()
                self._write(f"{line}\n")
                if found := _RANK.search(line):
                    self.ranks[int(found[2])] = found[1]
                if event := parse_line(line):
                    self.events.append((at_s, event))
                if isinstance(event, Progress):
                    self.step = max(self.step, (event.epoch - 1) * event.steps + event.step)
            return self._client.job(job).status == "SUCCEEDED"
        except ClusterError as error:
            self._write(f"{error}\n")
            return False

    def _write(self, text: str) -> None:
        with self._log.open("a") as log:
            log.write(text)
