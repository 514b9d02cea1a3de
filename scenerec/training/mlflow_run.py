"""A training run as MLflow keeps it: found by a tag, begun where it is not there, and told what it lacks."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Literal, TypeVar

from scenerec import __version__
from scenerec.config.run import RunConfig
from scenerec.config.track import TrackConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.step_metrics import StepMetrics
from scenerec.training.run_folder import RunFolder
from scenerec.training.run_overview import flat, setting_words
from scenerec.training.scalars import epoch_scalars, step_scalars

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

State = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
"""What MLflow knows as a run's state."""

RUN_TAG = "scenerec.run"
"""Tag with the address of the run's folder."""
_KEY_TAG = "scenerec.key"
_BUNDLE_TAG = "scenerec.bundle"
_METRICS_AT_ONCE, _PARAMETERS_AT_ONCE = 1000, 100  # MLflow's limits for a request
_MOST_SCALARS = 20  # of a step or an epoch
_NO_KEY, _LONGEST_KEY = re.compile(r"[^/\w.\- ]"), 240  # a class may have any name

_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # who calls tries again
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def run_key(run_url: str, began_s: float) -> str:
    """What tells a run from another, also from one that was begun anew in the same folder: 16 hexadecimal digits."""
    return hashlib.sha256(f"{run_url} {began_s!r}".encode()).hexdigest()[:16]


def find_run(client: "MlflowClient", track: TrackConfig, key: str) -> str | None:
    """The id of the MLflow run with this key, None where the experiment has none. Raises what MLflow raises."""
    experiment = client.get_experiment_by_name(track.experiment)
    if experiment is None:
        return None
    runs = client.search_runs([experiment.experiment_id], f"tags.`{_KEY_TAG}` = '{key}'", max_results=1)
    return runs[0].info.run_id if runs else None


def open_client(track: TrackConfig) -> "MlflowClient":
    """MLflow's client. Raises what MLflow raises, but asks the server nothing yet."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(track.mlflow)


class MlflowRun:
    """The MLflow run of a training run. Every call may raise what MLflow raises, and can be made again after it.

    Args:
        config: of the training run.
        began_s: when the run began first, in seconds since 1970.
        tags: beside those that follow from the config.
        name: under which MLflow lists it; by default the run's.
    """

    def __init__(self, config: RunConfig, began_s: float, tags: Mapping[str, str], name: str | None = None) -> None:
        self.client = open_client(config.track)
        key = run_key(config.run_url, began_s)
        found = find_run(self.client, config.track, key)
        own = {_KEY_TAG: key, RUN_TAG: config.run_url, "scenerec.version": __version__}
        self.run_id = found or self._create(config.track.experiment, name or config.name, began_s, own)
        self.client.update_run(self.run_id, "RUNNING")
        self._tell_settings(config, {"scenerec.framework": config.framework, **tags})
        self._steps_told, self._epochs_told = (self._newest(name) for name in ("train/loss", "train/epoch_loss"))

    def tell(self, steps: Sequence[StepMetrics], history: Sequence[EpochMetrics]) -> None:
        """Sends what is behind the newest step, and the newest epoch, that MLflow has."""
        for lines in _in_batches(steps, self._steps_told):
            self.client.log_batch(self.run_id, [value for line in lines for value in _values(line, step_scalars(line))])
            self._steps_told = lines[-1].global_step
        for epochs in _in_batches(history, self._epochs_told):
            self.client.log_batch(
                self.run_id, [value for each in epochs for value in _values(each, epoch_scalars(each))]
            )
            self._epochs_told = epochs[-1].global_step

    @property
    def address(self) -> str:
        """Where a browser shows the run; of a store without a server, its id."""
        experiment = self.client.get_run(self.run_id).info.experiment_id
        page = f"/#/experiments/{experiment}/runs/{self.run_id}"
        return f"{self.client.tracking_uri}{page}" if self.client.tracking_uri.startswith("http") else self.run_id

    def attach(self, folder: RunFolder, names: Sequence[str]) -> None:
        """Sends those of these files that the run's folder has."""
        for name in names:
            if folder.storage.size(name) is not None:
                self.client.log_text(self.run_id, folder.storage.get(name).decode(), name)

    def end(self, state: State) -> None:
        """Says how the run has ended."""
        self.client.set_terminated(self.run_id, state)

    def _create(self, experiment: str, name: str, began_s: float, tags: Mapping[str, str]) -> str:
        known = self.client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else self.client.create_experiment(experiment)
        return str(self.client.create_run(number, round(began_s * 1000), dict(tags), name).info.run_id)

    def _tell_settings(self, config: RunConfig, tags: Mapping[str, str]) -> None:
        """A setting that has changed since the run began becomes a tag: MLflow's parameters stay as they are."""
        from mlflow.entities import Param, RunTag

        document = flat(config.model_dump(mode="json"))
        settings = {_NO_KEY.sub("_", key)[:_LONGEST_KEY]: setting_words(value) for key, value in document.items()}
        known = self.client.get_run(self.run_id).data.params
        changed = {f"changed.{key}": settings[key] for key in settings if key in known and known[key] != settings[key]}
        new = iter([Param(key, value) for key, value in settings.items() if key not in known])
        while some := list(islice(new, _PARAMETERS_AT_ONCE)):
            self.client.log_batch(self.run_id, params=some)
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in {**tags, **changed}.items()])

    def _newest(self, name: str) -> int:
        return max((metric.step for metric in self.client.get_metric_history(self.run_id, name)), default=0)


Measured = TypeVar("Measured", StepMetrics, EpochMetrics)


def _in_batches(measured: Iterable[Measured], told: int) -> Iterator[list[Measured]]:
    """What lies behind step `told`, in parts that fit into a request: none is sent by half."""
    lacking = (each for each in measured if each.global_step > told)
    while some := list(islice(lacking, _METRICS_AT_ONCE // _MOST_SCALARS)):
        yield some


def _values(measured: StepMetrics | EpochMetrics, scalars: Mapping[str, float]) -> "list[Metric]":
    from mlflow.entities import Metric

    time_ms = round(measured.time_s * 1000)
    return [Metric(name, value, time_ms, measured.global_step) for name, value in scalars.items() if isfinite(value)]


def tell_bundle(folder: RunFolder, precision: str, url: str) -> None:
    """Notes the address of a bundle at its run, where MLflow has that. Raises what MLflow and the folder raise."""
    config, starts = folder.read_job(), folder.read_starts()
    assert isinstance(config, RunConfig)
    client = open_client(config.track)
    if starts and (found := find_run(client, config.track, run_key(folder.url, starts[0].time_s))):
        client.set_tag(found, f"{_BUNDLE_TAG}.{precision}", url)
