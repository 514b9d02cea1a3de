"""The trials of a search in its folder: `trials/NAME/trial.json`. One writer, the search's driver; many readers."""

import json
from concurrent.futures import ThreadPoolExecutor

from scenerec.config.file import parse_as
from scenerec.config.tune import TuneConfig
from scenerec.errors import CheckpointError
from scenerec.frozen import parse_json
from scenerec.search.levels import trial_name
from scenerec.search.trial import Trial
from scenerec.storage import read_json
from scenerec.training.run_folder import CONFIG_FILE, RESULT_FILE, JobFolder

TRIAL_FILE = "trial.json"
BEST_CONFIG_FILE = "train.yaml"
REPORT_FILE = "report.html"
_FAILURE_FILE = "failure.json"

_READERS = 16  # of a store, where each answer takes its time

# What may change when a search is submitted again; the trials that it has then still compare.
_MAY_CHANGE = frozenset({"trials", "concurrent_trials", "max_hours", "give_up_after", "retrain"})


class SearchFolder(JobFolder):
    """The files of one search, local or in S3."""

    holds = "search"

    def trials(self) -> list[Trial]:
        """All trials, by number. Raises CheckpointError, StorageError."""
        listed = (info.key for info in self.storage.list("trials/"))
        keys = [key for key in listed if key.count("/") == 2 and key.endswith(f"/{TRIAL_FILE}")]
        with ThreadPoolExecutor(_READERS, thread_name_prefix="trials") as threads:
            return sorted(threads.map(self._read, keys), key=lambda trial: trial.number)

    def write(self, trial: Trial) -> None:
        """Writes a trial, anew where it is there."""
        self.storage.put(f"trials/{trial_name(trial.number)}/{TRIAL_FILE}", trial.model_dump_json(indent=1).encode())

    def write_failure(self, number: int, session: str, reason: str) -> None:
        """Leaves word, for the driver, of why a trial ended; `session` is the driver's."""
        content = json.dumps({"session": session, "reason": reason}).encode()
        self.storage.put(f"trials/{trial_name(number)}/{_FAILURE_FILE}", content)

    def read_failure(self, number: int, session: str) -> str | None:
        """Why a trial ended in this session, None where it did not fail."""
        key = f"trials/{trial_name(number)}/{_FAILURE_FILE}"
        failure = read_json(self.storage, key, "session", "reason")
        return failure["reason"] if failure and failure["session"] == session else None

    def read_config(self) -> TuneConfig:
        """Reads config.yaml. Raises CheckpointError, ConfigError, StorageError."""
        return parse_as(TuneConfig, self.config_text(), f"{self.url}/{CONFIG_FILE}")

    def check_same_search(self, config: TuneConfig) -> None:
        """Raises CheckpointError where the folder's trials were those of another search."""
        if self.storage.size(CONFIG_FILE) is None:
            return
        stored, wanted = (each.model_dump(mode="json") for each in (self.read_config(), config))
        for field, value in wanted.items():
            if field not in _MAY_CHANGE and stored[field] != value:
                raise CheckpointError(
                    f"{self.url}: has the trials of another search ({_difference(field, stored[field], value)}): give "
                    "this one another name, or start it over with `scenerec submit --restart`"
                )

    def begin(self) -> None:
        """The search is not over, or not any more."""
        self.storage.delete(RESULT_FILE)

    def _read(self, key: str) -> Trial:
        where = f"{self.url}/{key}: is no trial of this version of scenerec"
        return parse_json(Trial, self.storage.get(key), where, CheckpointError)


def _difference(field: str, stored: object, wanted: object) -> str:
    """The innermost field that differs: `base.optimize.lr: 0.1, now 0.2`."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in [*wanted, *stored]:
            if stored.get(key) != wanted.get(key):
                return _difference(f"{field}.{key}", stored.get(key), wanted.get(key))
    return f"{field}: {stored!r}, now {wanted!r}"
