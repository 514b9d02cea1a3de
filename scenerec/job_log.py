"""The lines in which a job tells its log how it stands: its process prints them, `scenerec logs` reads them.

Each line is a tag and what the event says: `[progress]` and `[epoch]` of a training and `[images]` of work over images
in logfmt, `[trial]` and `[search]` of a search, `[restart]` and the `[result]` of any job in JSON, `[note]`,
`[waiting]` and `[error]` in words.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from scenerec.epoch_metrics import VALIDATION_PREFIX, EpochMetrics
from scenerec.json_object import JsonObject

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RAY_PREFIX = re.compile(r"^\([^()]*\bpid=\d+[^()]*\) ")
_TAGGED = re.compile(r"^\[([a-z]+)\] ?(.*)$")


@dataclass(frozen=True)
class Progress:
    """Where a run is within an epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    epochs: int
    """Epochs of the whole run."""
    step: int
    """Steps done in this epoch."""
    steps: int
    """Steps of an epoch."""
    images_per_s: float
    """Images per second over all workers, since the previous line."""
    loss: float
    """Mean training loss since the previous line."""
    lr: float
    """Learning rate of the newest step."""
    eta_s: float
    """Seconds to the end of the run, as far as is known."""
    data_wait: float | None = None
    """Share of the time since the previous line in which rank 0 waited for its next batch; None of older versions."""
    checkpoint_s: float | None = None
    """Seconds that writing the newest checkpoint took, in the background; None before the first."""


@dataclass(frozen=True)
class EpochSummary:
    """A finished epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    epochs: int
    """Epochs of the whole run."""
    train_loss: float
    """Mean training loss over the epoch's steps."""
    validation: Mapping[str, float]
    """Metrics over the validation set by key, such as val_loss and val_top1, in the task's order."""
    images_per_s: float
    """Training images per second over all workers."""
    lr: float
    """Learning rate of the epoch's last step."""
    data_wait: float | None = None
    """Share of the training time in which a worker waited for its next batch; None of older versions."""
    fetched_bytes_per_s: float | None = None
    """Bytes of shards that all workers fetched in a second of training; None of older versions."""

    @staticmethod
    def of(metrics: EpochMetrics, epochs: int) -> "EpochSummary":
        """The summary of an epoch of a run of so many."""
        return EpochSummary(
            metrics.epoch,
            epochs,
            metrics.train_loss,
            metrics.validation,
            metrics.images_per_s,
            metrics.lr,
            metrics.data_wait,
            metrics.fetched_bytes_per_s,
        )

    def as_dict(self) -> dict[str, int | float | None]:
        """One flat object, in the order of the line."""
        return {
            "epoch": self.epoch,
            "epochs": self.epochs,
            "train_loss": self.train_loss,
            **self.validation,
            "images_per_s": self.images_per_s,
            "lr": self.lr,
            "data_wait": self.data_wait,
            "fetched_bytes_per_s": self.fetched_bytes_per_s,
        }


@dataclass(frozen=True)
class ImageProgress:
    """How far work is that is done image by image: packing, evaluating, predicting."""

    done: int
    """Images that are done, by earlier work as well."""
    total: int
    """Images that there are."""
    images_per_s: float
    """Images per second since the work began."""
    eta_s: float | None = None
    """Seconds to the end; None where it is not known."""

    @property
    def words(self) -> str:
        """The same, for people."""
        left = f", {format_duration(self.eta_s)} left" if self.eta_s and self.done < self.total else ""
        return f"{self.done} of {self.total} images, {self.images_per_s:.0f} images/s{left}"


@dataclass(frozen=True)
class Note:
    """Something a person should know, such as where a run resumes."""

    text: str
    """The words, on one line."""


@dataclass(frozen=True)
class Waiting:
    """What the job waits for now: `torch on 2 workers: 1 CPU each, 0 of 2 free`."""

    text: str
    """The words after "waiting for", on one line."""


@dataclass(frozen=True)
class Restart:
    """All workers start again, for some were lost or met an error."""

    restart: int
    """Number of the restart, from 1."""
    restarts: int
    """Restarts that the job may have in all."""
    reason: str
    """What was met: `worker 1 on 10.0.0.12 was lost`."""

    @property
    def words(self) -> str:
        """The reason and the count, for people."""
        return f"{self.reason}; restart {self.restart} of {self.restarts}"


@dataclass(frozen=True)
class Failure:
    """Why the job stops: a user error's message."""

    message: str
    """The message; one of several lines is printed, and read back, as several."""


@dataclass(frozen=True)
class RunResult:
    """What the job came to; of a training the content of result.json."""

    content: JsonObject
    """JSON values by key."""


@dataclass(frozen=True)
class TrialNews:
    """How a trial of a search stands."""

    number: int
    """Number of the trial, from 0."""
    state: str
    """running, paused, finished, stopped, failed or refused."""
    epoch: int
    """Epochs done."""
    epochs: int
    """Epochs that it would run in all."""
    objective: str
    """Which value is meant, such as val_top1."""
    value: float | None
    """The objective after the newest epoch."""
    best: float | None
    """The best value of the objective so far."""
    point: str
    """What is tried, in words."""
    reason: str | None = None
    """Why it failed or was refused."""


@dataclass(frozen=True)
class SearchNews:
    """How a search stands."""

    ended: int
    """Trials that have ended."""
    trials: int
    """Trials that are wanted in all."""
    running: int
    """Trials that run now."""
    best_trial: int | None
    """Number of the trial that leads, None where none has a value."""
    best: float | None
    """The leading trial's value of the objective."""
    objective: str
    """Which value is meant, such as val_top1."""
    epochs: float
    """Epochs run by all trials, in epochs of the full resolution and data."""
    full_epochs: float
    """Epochs of the same trials without early stopping."""
    eta_s: float
    """Seconds to the end of the search, infinite where it is not known."""


Event = (
    Progress | EpochSummary | ImageProgress | Note | Waiting | Restart | Failure | RunResult | TrialNews | SearchNews
)


def format_line(event: Event) -> str:
    """The line that `parse_line` reads back; numbers of logfmt keep six significant digits.

    A Failure of several lines gives several.
    """
    form = _FORMS[type(event)]
    return "\n".join(f"[{form.tag}] {line}" for line in form.write(event).split("\n"))


def parse_line(line: str) -> Event | None:
    """The event of a line of a log, with or without Ray's `(Name pid=1) ` before it; None for other lines."""
    found = _TAGGED.match(_RAY_PREFIX.sub("", plain(line)).rstrip())
    form = _FORM_OF_TAG.get(found[1]) if found else None
    if found is None or form is None:
        return None
    try:
        return form.read(found[2])
    except (TypeError, ValueError, KeyError):
        return None  # a line that was cut off, or of a program that prints something similar


def plain(line: str) -> str:
    """The line without colours."""
    return _ANSI.sub("", line)


def format_duration(seconds: float) -> str:
    """`75` as "1m15s", `5000` as "1h23m"; "?" where it is not known."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def _write_progress(event: Progress) -> str:
    places = ("epoch", "epochs", "step", "steps")
    numbers = _numbers(**{name: value for name, value in asdict(event).items() if name not in places})
    return f"epoch={event.epoch}/{event.epochs} step={event.step}/{event.steps} {numbers}"


def _write_epoch(event: EpochSummary) -> str:
    numbers = {key: value for key, value in event.as_dict().items() if key not in ("epoch", "epochs")}
    return f"epoch={event.epoch}/{event.epochs} {_numbers(**numbers)}"


def _read_epoch(text: str) -> EpochSummary:
    fields = _fields(text)
    validation = {key: value for key, value in fields.items() if key.startswith(VALIDATION_PREFIX)}
    others = {key: value for key, value in fields.items() if key not in validation}
    return EpochSummary(validation=validation, **others)  # type: ignore[arg-type]


def _write_images(event: ImageProgress) -> str:
    return f"done={event.done} total={event.total} {_numbers(images_per_s=event.images_per_s, eta_s=event.eta_s)}"


def _read_images(text: str) -> ImageProgress:
    fields = _fields(text)
    return ImageProgress(int(fields.pop("done")), int(fields.pop("total")), **fields)


def _write_failure(event: Failure) -> str:
    return "\n".join(line for line in event.message.splitlines() if line.strip())


def _read_object(text: str) -> JsonObject:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    return values


def _write_object(event: Restart | TrialNews | SearchNews) -> str:
    """As JSON, which has no infinity: null stands for it."""
    return json.dumps({key: None if value == math.inf else value for key, value in asdict(event).items()})


def _read_search(text: str) -> SearchNews:
    values = _read_object(text)
    return SearchNews(**{**values, "eta_s": math.inf if values["eta_s"] is None else values["eta_s"]})


def _numbers(**values: float | None) -> str:
    return " ".join(f"{name}={value:.6g}" for name, value in values.items() if value is not None)


def _fields(text: str) -> dict[str, float]:
    """`epoch=2/3 loss=0.5` as {"epoch": 2, "epochs": 3, "loss": 0.5}."""
    fields: dict[str, float] = {}
    for pair in text.split():
        name, value = pair.split("=")
        if "/" in value:
            done, total = value.split("/")
            fields |= {name: int(done), f"{name}s": int(total)}
        else:
            fields[name] = float(value)
    return fields


Told = TypeVar("Told", bound=Event)


@dataclass(frozen=True)
class _Form(Generic[Told]):
    """How the events of one class are written and read."""

    tag: str
    write: Callable[[Told], str]
    """What follows the tag."""
    read: Callable[[str], Told]
    """The event of that. Raises TypeError, ValueError or KeyError where it is none."""


_FORMS: dict[type, _Form[Any]] = {
    Progress: _Form("progress", _write_progress, lambda text: Progress(**_fields(text))),  # type: ignore[arg-type]
    EpochSummary: _Form("epoch", _write_epoch, _read_epoch),
    ImageProgress: _Form("images", _write_images, _read_images),
    Note: _Form("note", lambda event: " ".join(event.text.split()), Note),
    Waiting: _Form("waiting", lambda event: " ".join(event.text.split()), Waiting),
    Restart: _Form("restart", _write_object, lambda text: Restart(**_read_object(text))),
    Failure: _Form("error", _write_failure, Failure),
    RunResult: _Form("result", lambda event: json.dumps(event.content), lambda text: RunResult(_read_object(text))),
    TrialNews: _Form("trial", _write_object, lambda text: TrialNews(**_read_object(text))),
    SearchNews: _Form("search", _write_object, _read_search),
}
_FORM_OF_TAG = {form.tag: form for form in _FORMS.values()}
