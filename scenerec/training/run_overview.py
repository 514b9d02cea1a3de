"""What a run came to, in a few values, by which runs compare: its settings, its epochs, the best of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scenerec.checkpoint import best_checkpoint
from scenerec.config.run import RunConfig
from scenerec.config.train import TrainConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError
from scenerec.inference.evaluation.label_figures import LabelFigures
from scenerec.step_metrics import StepMetrics
from scenerec.storage import IMPATIENT, Patience
from scenerec.training.run_folder import RunFolder
from scenerec.training.task import Task, task_of

_NO_SETTINGS = (
    "kind",
    "name",
    "output",
    "job",
    "cost",
    "track",
)  # of them each run has its own, or none changes a result


@dataclass(frozen=True)
class RunOverview:
    """A training run or a pretraining, as its folder tells of it."""

    url: str
    """The run's folder."""
    framework: str
    """Framework of its newest submission."""
    task: Task
    """What is learned."""
    epochs: int
    """Epochs that it is to have in all."""
    settings: Mapping[str, object]
    """The values of its config by their dotted keys, such as optimize.lr; those that change nothing are left out."""
    history: Sequence[EpochMetrics]
    """The finished epochs."""
    starts: int
    """How often its workers began: 1 of a run that was never interrupted, 0 where that is not known."""
    best_checkpoint: str | None = None
    """Address of its best checkpoint; None before the first epoch has ended."""
    steps: Sequence[StepMetrics] = ()
    """Its metrics by step, where they were asked for; none of an older version's run."""
    training_loss: str = ""
    """What makes the training loss another than the validation loss, in words; empty where they compare."""
    labels: Sequence[LabelFigures] = ()
    """How good the answers for each label were after the best epoch, where they were asked for; none of a task with one
    label an image."""

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.url.rpartition("/")[2]

    @property
    def best(self) -> EpochMetrics | None:
        """The best epoch by the task's metric; None before the first has ended."""
        return self.task.best_epoch(self.history)


def read_overview(run_url: str, patience: Patience = IMPATIENT, in_full: bool = False) -> RunOverview:
    """Reads what the folder of a training run holds; metrics by step, by label and the best checkpoint only `in_full`.

    Raises CheckpointError where it is none, a search's, or damaged, ConfigError where another version's config is not
    understood, StorageError.
    """
    folder = RunFolder(run_url, patience)
    config = folder.read_job()
    if not isinstance(config, RunConfig):
        raise CheckpointError(f"{run_url}: is no training, but of kind {config.kind}, which has a report of its own")
    task, history = task_of(config), folder.read_history()
    return RunOverview(
        url=folder.url,
        framework=config.framework,
        task=task,
        epochs=config.optimize.epochs,
        settings=_settings(config),
        history=history,
        starts=len(folder.read_starts()),
        best_checkpoint=_best(folder) if in_full else None,
        steps=folder.read_steps() if in_full else (),
        training_loss=config.training_loss if isinstance(config, TrainConfig) else "",
        labels=_labels(folder, task.best_epoch(history)) if in_full else (),
    )


def _labels(folder: RunFolder, best: EpochMetrics | None) -> tuple[LabelFigures, ...]:
    """Those of the best epoch; none where the file tells of one that was killed before its checkpoint was whole."""
    found = folder.read_labels()
    return found.labels if found and best and found.epoch == best.epoch else ()


def _best(folder: RunFolder) -> str | None:
    name = best_checkpoint(folder.checkpoints)
    return f"{folder.checkpoints.url}/{name}" if name else None


def differing(runs: Iterable[RunOverview]) -> list[str]:
    """The keys of settings in which runs differ, in the order of the config."""
    overviews = list(runs)
    keys = dict.fromkeys(key for run in overviews for key in run.settings)
    return [key for key in keys if len({repr(run.settings.get(key)) for run in overviews}) > 1]


def short_keys(keys: Sequence[str]) -> list[str]:
    """The keys without what comes before their last dot, where that leaves them different from each other."""
    last = [key.rpartition(".")[2] for key in keys]
    return [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]


def setting_words(value: object) -> str:
    """The value of a setting as YAML writes it on one line."""
    return value if isinstance(value, str) else json.dumps(value)


def _settings(config: RunConfig) -> dict[str, object]:
    document = config.model_dump(mode="json")
    return flat({key: value for key, value in document.items() if key not in _NO_SETTINGS})


def flat(block: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """The values of nested blocks by their dotted keys, such as optimize.lr; an empty block is a value."""
    found: dict[str, object] = {}
    for key, value in block.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found
