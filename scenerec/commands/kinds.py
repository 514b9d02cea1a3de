"""The kinds of jobs: how each is checked, run on a cluster, and shown. Nothing else asks what kind a job is.

docs/extending.md says what a new kind of file needs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from rich.console import Console

from scenerec.commands.screen.answers import show_answers
from scenerec.commands.screen.live import RunBar, show_run_result
from scenerec.commands.screen.live_lines import Lines
from scenerec.commands.screen.live_search import SearchTable, show_search_result
from scenerec.commands.screen.probe_table import show_probe_result
from scenerec.config.job import JobConfig
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.probe import ProbeConfig
from scenerec.config.train import TrainConfig
from scenerec.config.tune import RetrainConfig, TuneConfig
from scenerec.job_log import EpochSummary, ImageProgress, Progress, Restart, SearchNews
from scenerec.json_object import JsonObject

if TYPE_CHECKING:  # see the checks below
    from scenerec.training.plan import NodeResources

Config = TypeVar("Config", bound=JobConfig)


class Plan(Protocol):
    """A job that has been checked: what will happen."""

    def rows(self) -> list[tuple[str, str]]:
        """(what, value), for people."""

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""


@dataclass(frozen=True)
class JobKind:
    """A kind of job of the cluster, sent by any command."""

    name: str
    """Name of the kind in a file, and in the cluster's list of jobs."""
    module: str
    """What runs: `python -m MODULE config.yaml`, in a folder with our packages, the module's own, and what is sent."""
    _: KW_ONLY
    view: type[Lines] = RunBar
    """Shows the job's log on a terminal while it runs; elsewhere plain lines do."""
    show_result: Callable[[JsonObject, Console], None] = show_run_result
    """Shows the result that the job has printed."""
    reports: Mapping[type, str] = field(
        default_factory=lambda: {
            Progress: "progress",
            ImageProgress: "images",
            EpochSummary: "epoch",
            Restart: "restart",
        }
    )
    """What `scenerec status` shows beside result and error: the newest of these events, each by its name."""
    has_epochs: bool = False
    """Whether the job's folder is a run's, with the metrics of its epochs, of which `scenerec status` draws curves."""


@dataclass(frozen=True)
class FileKind(JobKind, Generic[Config]):
    """A kind of job that a file describes, for `scenerec submit`."""

    _: KW_ONLY
    check: Callable[[Config, "Sequence[NodeResources] | None", bool], Plan]
    """Checks a config against its data, the cluster's nodes (None: unknown, or not to be checked) and, unless the third
    argument, restart, is true, the results that its run has. Raises PlanError, DataError, StorageError, CheckpointError
    or ModelError, in one line."""
    framework: Callable[[Config], str]
    """Says what stands under FRAMEWORK in `scenerec list`."""
    resumes_from_checkpoint: bool = True
    """Whether `--resume` needs a checkpoint in the run's folder."""
    with_retraining: Callable[[Config], Config] | None = None
    """Makes the config that `--retrain` asks for; None where the kind knows no such thing."""


def job_kind(name: str) -> JobKind:
    """Finds the kind of a job in the cluster's list. Another version may have sent it: then one that suits most."""
    return KINDS.get(name) or JobKind(name, "")


def is_run(name: str) -> bool:
    """Whether jobs of the kind are at a run, and leave a record in its folder: those that a file describes."""
    return isinstance(KINDS.get(name), FileKind)


def file_kind(config: JobConfig) -> FileKind[Any]:
    """Finds the kind of job that a file's config describes."""
    kind = KINDS[config.kind]
    assert isinstance(kind, FileKind), f"{config.kind}: is in config.file.KINDS, but not as a FileKind in kinds.KINDS"
    return kind


# The checks are imported when something is submitted: what they bring would take a fifth of the time of `status`.


def _check_training(config: TrainConfig, nodes: "Sequence[NodeResources] | None", restart: bool) -> Plan:
    from scenerec.training.preflight import check_job

    return check_job(config, nodes, restart)


def _check_pretraining(config: PretrainConfig, nodes: "Sequence[NodeResources] | None", restart: bool) -> Plan:
    from scenerec.training.pretrain_preflight import check_pretraining

    return check_pretraining(config, nodes, restart)


def _check_probe(config: ProbeConfig, nodes: "Sequence[NodeResources] | None", restart: bool) -> Plan:
    from scenerec.training.probing.plan import check_probe

    return check_probe(config, nodes, restart)


def _check_search(config: TuneConfig, nodes: "Sequence[NodeResources] | None", restart: bool) -> Plan:
    from scenerec.search.plan import check_search

    return check_search(config, nodes, restart)


def _searched_frameworks(config: TuneConfig) -> str:
    searched = config.search["framework"].choice if "framework" in config.search else None
    return " or ".join(searched or (config.base.framework,))


def _with_retraining(config: TuneConfig) -> TuneConfig:
    return config if config.retrain else config.model_copy(update={"retrain": RetrainConfig()})


TRAIN = FileKind[TrainConfig](
    "train",
    "jobs.train",
    check=_check_training,
    framework=lambda config: config.framework,
    has_epochs=True,
)
PRETRAIN = FileKind[PretrainConfig](
    "pretrain",
    "jobs.pretrain",
    check=_check_pretraining,
    framework=lambda config: config.framework,
    has_epochs=True,
)
PROBE = FileKind[ProbeConfig](
    "probe",
    "jobs.probe",
    show_result=show_probe_result,
    check=_check_probe,
    framework=lambda config: config.framework,
    resumes_from_checkpoint=False,  # the features that are in the store are its state
)
TUNE = FileKind[TuneConfig](
    "tune",
    "jobs.tune",
    view=SearchTable,
    show_result=show_search_result,
    reports={Progress: "progress", SearchNews: "search", EpochSummary: "epoch"},
    check=_check_search,
    framework=_searched_frameworks,
    resumes_from_checkpoint=False,  # the trials that have ended are its state
    with_retraining=_with_retraining,
)

# Jobs without a file of their own: other commands send them, and show what comes of them.
PACK = JobKind("pack", "jobs.pack")
ADD = JobKind("add", "jobs.add")
EVALUATE = JobKind("evaluate", "jobs.evaluate")
PREDICT = JobKind("predict", "jobs.predict", show_result=show_answers)
SERVE = JobKind("serve", "serve.control")
DOCTOR = JobKind("doctor", "jobs.doctor")

KINDS: dict[str, JobKind] = {
    kind.name: kind for kind in (TRAIN, PRETRAIN, PROBE, TUNE, PACK, ADD, EVALUATE, PREDICT, SERVE, DOCTOR)
}
"""All kinds by name."""
