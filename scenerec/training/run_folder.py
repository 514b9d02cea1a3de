"""A run's folder, output/name: config.yaml, metrics.jsonl, steps.jsonl, checkpoints/, tensorboard/, result.json.

starts.jsonl says when its workers began, and began again. Where images have several labels, labels.json tells of each.
Where data.log_samples is set, samples/ as well.
"""

import json
from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeVar

from scenerec.checkpoint import list_checkpoints, read_run_state
from scenerec.config.file import dump_config, parse_as, parse_job
from scenerec.config.job import JobConfig
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.run import RunConfig
from scenerec.config.train import TrainConfig
from scenerec.config.yaml_text import decode
from scenerec.data.augment import AUGMENT_VERSION
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, NotFoundError
from scenerec.frozen import Frozen, parse_json
from scenerec.inference.evaluation.label_figures import LabelFigures
from scenerec.json_object import JsonObject
from scenerec.models.drop_path import DROP_VERSION, drops_by_itself
from scenerec.models.preprocessing import IMAGENET
from scenerec.step_metrics import StepMetrics
from scenerec.storage import IMPATIENT, Patience, Storage, open_storage, read_json
from scenerec.training.node_time import Start
from scenerec.training.task import CLASSIFICATION, task_of
from scenerec.training.teacher import TeacherPlan

Line = TypeVar("Line", bound=Frozen)

CONFIG_FILE = "config.yaml"
RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
LABELS_FILE = "labels.json"

# What a checkpoint was made with that is older than the field.
_IDENTITY_DEFAULTS = {
    "model.freeze": "none",
    "augmentation version": 1,
    "task": CLASSIFICATION.name,
    "data.balance": 0.0,
    "data.repeats": 1,
    "data.train weights": [1.0],
    "optimize.class_weights": "none",
    "optimize.loss": "cross_entropy",
    "optimize.mix": None,
    "optimize.distill.teacher": None,
    "model.drop_path": None,
    "dropout version": 1,
    "model.geo": None,
    "data.mean": list(IMAGENET.mean),
    "data.std": list(IMAGENET.std),
    "data.interpolation": IMAGENET.interpolation,
}


class BestLabels(Frozen):
    """How good the answers for each label were after the best epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    labels: tuple[LabelFigures, ...]
    """In order of class index, over the validation set."""


class JobFolder:
    """The files that a run's and a search's folder have in common, local or in S3."""

    holds: ClassVar[str]
    """What the job is, in a word, for messages."""

    def __init__(self, url: str, patience: Patience = IMPATIENT) -> None:
        self.url = url
        self.storage: Storage = open_storage(url, patience)

    def write_config(self, config: JobConfig) -> None:
        """Writes config.yaml, with every default filled in."""
        self.storage.put(CONFIG_FILE, dump_config(config).encode())

    def config_text(self) -> str:
        """Reads config.yaml. Raises CheckpointError where there is none, ConfigError where it is no text."""
        try:
            return decode(self.storage.get(CONFIG_FILE), f"{self.url}/{CONFIG_FILE}")
        except NotFoundError:
            raise CheckpointError(
                f"{self.url}: has no {CONFIG_FILE}, so it is no {self.holds}'s folder: name one such as "
                "s3://scenes/runs/NAME"
            ) from None

    def write_result(self, result: JsonObject) -> None:
        """Writes result.json: the job is over."""
        self.storage.put(RESULT_FILE, json.dumps(result, indent=2).encode())

    def read_result(self) -> JsonObject | None:
        """Reads result.json; None while the job is not over."""
        return read_json(self.storage, RESULT_FILE)

    def clear(self) -> None:
        """Deletes all files of the job."""
        for info in list(self.storage.list()):
            self.storage.delete(info.key)


class RunFolder(JobFolder):
    """The files of one run, local or in S3."""

    holds = "run"

    def __init__(self, url: str, patience: Patience = IMPATIENT) -> None:
        super().__init__(url, patience)
        self.checkpoints: Storage = open_storage(f"{url}/checkpoints", patience)
        self.samples: Storage = open_storage(f"{url}/samples", patience)

    def read_config(self, overrides: Iterable[str] = ()) -> TrainConfig:
        """Reads config.yaml, with overrides such as "optimize.lr=0.1". Raises CheckpointError, ConfigError."""
        return parse_as(TrainConfig, self.config_text(), f"{self.url}/{CONFIG_FILE}", overrides)

    def read_job(self, overrides: Iterable[str] = ()) -> JobConfig:
        """Reads config.yaml as `read_config` does, of a run of any kind that is submitted."""
        return parse_job(self.config_text(), f"{self.url}/{CONFIG_FILE}", overrides)

    def write_metrics(self, history: Sequence[EpochMetrics]) -> None:
        """Writes metrics.jsonl, one object a finished epoch."""
        self.storage.put("metrics.jsonl", "".join(json.dumps(epoch.as_dict()) + "\n" for epoch in history).encode())

    def read_history(self) -> list[EpochMetrics]:
        """Reads metrics.jsonl: the finished epochs, in order. Raises CheckpointError where it is damaged."""
        return self._lines("metrics.jsonl", EpochMetrics)

    def write_labels(self, labels: BestLabels) -> None:
        """Writes labels.json."""
        self.storage.put(LABELS_FILE, labels.model_dump_json(indent=1).encode())

    def read_labels(self) -> BestLabels | None:
        """Reads labels.json; None of a task with one label an image. Raises CheckpointError where it is damaged."""
        if not self.storage.size(LABELS_FILE):
            return None
        return parse_json(BestLabels, self.storage.get(LABELS_FILE), f"{self.url}/{LABELS_FILE}", CheckpointError)

    def write_steps(self, lines: bytes, events: bytes) -> None:
        """Writes steps.jsonl, of which `lines` is the content, and all metrics as TensorBoard's `events`."""
        self.storage.put("steps.jsonl", lines)
        self.storage.put("tensorboard/events.out.tfevents.scenerec", events)

    def read_steps(self) -> list[StepMetrics]:
        """Reads steps.jsonl, in order; empty of an older version's run. Raises CheckpointError where it is damaged."""
        return self._lines("steps.jsonl", StepMetrics)

    def add_start(self, start: Start) -> None:
        """Adds a line to starts.jsonl: the workers begin, or begin again."""
        lines = [each.model_dump_json() for each in (*self.read_starts(), start)]
        self.storage.put("starts.jsonl", "".join(f"{line}\n" for line in lines).encode())

    def read_starts(self) -> list[Start]:
        """Reads starts.jsonl, in order. Raises CheckpointError where it is damaged."""
        return self._lines("starts.jsonl", Start)

    def latest_checkpoint(self) -> str | None:
        """Name of the newest complete checkpoint, None where there is none."""
        names = list_checkpoints(self.checkpoints)
        return names[-1] if names else None

    def _lines(self, key: str, model: type[Line]) -> list[Line]:
        """The values of a file with one a line; none where there is no file."""
        lines = self.storage.get(key).splitlines() if self.storage.size(key) else []
        return [parse_json(model, line, f"{self.url}/{key}: is damaged", CheckpointError) for line in lines]


def run_identity(
    config: RunConfig, lanes: int, classes: int, fingerprint: str, teacher: TeacherPlan | None = None
) -> JsonObject:
    """What must not change when a run is resumed. The framework and the number of workers may."""
    preprocessing = config.data.preprocessing
    return {
        "task": task_of(config).name,
        "model.arch": config.model.arch,
        "classes": classes,
        "training set": fingerprint,
        "data.lanes": lanes,
        "data.balance": config.data.balance,
        "data.mean": list(preprocessing.mean),
        "data.std": list(preprocessing.std),
        "data.interpolation": preprocessing.interpolation,
        "data.repeats": config.data.repeats,
        "data.train weights": [each.weight for each in config.data.train_sets],
        "optimize.global_batch_size": config.optimize.global_batch_size,
        "optimize.optimizer": config.optimize.optimizer,
        "optimize.seed": config.optimize.seed,
        "optimize.class_weights": config.optimize.class_weights,
        "optimize.loss": config.optimize.loss,
        "optimize.mix": config.optimize.mix.model_dump(mode="json") if config.optimize.mix else None,
        "augmentation version": AUGMENT_VERSION,
        "optimize.ema_decay": config.optimize.ema_decay,
        "optimize.distill.teacher": teacher.digest if teacher else None,
        "model.drop_path": config.model.drop_path,
        "dropout version": DROP_VERSION if _drops(config) else 1,
        "model.geo": config.model.geo.model_dump(mode="json") if config.model.geo else None,
        "model.freeze": config.model.freeze if isinstance(config.model.freeze, str) else sorted(config.model.freeze),
        **(_method_identity(config) if isinstance(config, PretrainConfig) else {}),
    }


def _drops(config: RunConfig) -> bool:
    """Whether its samples' own draws drop something; a pretraining's dropout goes by the worker, as it always did."""
    if isinstance(config, PretrainConfig):
        return False
    model = config.model
    geo = model.geo is not None and model.geo.dropout > 0
    return geo or bool(model.drop_path) or (model.drop_path is None and drops_by_itself(model.arch))


def _method_identity(config: PretrainConfig) -> JsonObject:
    """The method, and what shapes its heads and its queue."""
    method = config.pretrain
    fields = ("method", "projector_layers", "projector_width", "embedding_size", "queue", "predictor_width")
    return {f"pretrain.{field}": getattr(method, field) for field in fields}


def check_identity(run_url: str, stored: JsonObject, wanted: JsonObject) -> None:
    """Raises CheckpointError where a run cannot go on with `wanted`, naming the first field that differs."""
    stored = {**_IDENTITY_DEFAULTS, **stored}
    for field, value in wanted.items():
        if stored.get(field) != value:
            raise CheckpointError(
                f"{run_url}: its checkpoints were made with another {field} ({stored.get(field)!r}, now {value!r}): "
                "give the run another name, or start it over with `scenerec submit --restart`"
            )


def resumed_lanes(folder: RunFolder, lanes: int | str) -> int | None:
    """Lanes of the run's newest checkpoint, where data.lanes is `auto`: they are fixed for the life of a run."""
    name = folder.latest_checkpoint()
    if name is None or lanes != "auto":
        return None
    return int(read_run_state(folder.checkpoints, name).identity["data.lanes"])
