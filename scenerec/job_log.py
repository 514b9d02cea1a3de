"""The lines (logfmt) in which a job tells its log how far it is: rank 0 prints, `scenerec logs` reads."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RAY_PREFIX = re.compile(r"^\([^()]*\bpid=\d+[^()]*\) ")
_KIND = re.compile(r"^\[(progress|epoch|note|result|error)\] ?(.*)$")


@dataclass(frozen=True)
class Progress:
    """Where a run is within an epoch."""

    epoch: int
    """From 1."""
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


@dataclass(frozen=True)
class EpochSummary:
    """A finished epoch."""

    epoch: int
    """From 1."""
    epochs: int
    """Epochs of the whole run."""
    train_loss: float
    """Mean over the epoch's steps."""
    val_loss: float
    """Mean over the validation set."""
    val_top1: float
    """Share of validation images whose class ranked first, 0 to 1."""
    val_top5: float
    """Share of validation images whose class was among the first five, 0 to 1."""
    images_per_s: float
    """Training images per second over all workers."""
    lr: float
    """Learning rate of the epoch's last step."""


@dataclass(frozen=True)
class Note:
    """Something a person should know, such as where a run resumes."""

    text: str
    """One line."""


@dataclass(frozen=True)
class Failure:
    """Why the job stops: a user error's message."""

    message: str
    """One line; a message of several lines is printed as several."""


@dataclass(frozen=True)
class RunResult:
    """What the run came to: the content of result.json."""

    content: dict[str, Any]
    """Plain JSON values."""


Event = Progress | EpochSummary | Note | Failure | RunResult


def format_line(event: Event) -> str:
    """The line that `parse_line` reads back; numbers keep six significant digits.

    A Failure of several lines gives several.
    """
    match event:
        case Progress():
            return f"[progress] epoch={event.epoch}/{event.epochs} step={event.step}/{event.steps} " + _numbers(
                images_per_s=event.images_per_s, loss=event.loss, lr=event.lr, eta_s=event.eta_s
            )
        case EpochSummary():
            return f"[epoch] epoch={event.epoch}/{event.epochs} " + _numbers(
                train_loss=event.train_loss,
                val_loss=event.val_loss,
                val_top1=event.val_top1,
                val_top5=event.val_top5,
                images_per_s=event.images_per_s,
                lr=event.lr,
            )
        case Note():
            return f"[note] {' '.join(event.text.split())}"
        case Failure():
            return "\n".join(f"[error] {line}" for line in event.message.splitlines() if line.strip())
        case RunResult():
            return f"[result] {json.dumps(event.content)}"


def parse_line(line: str) -> Event | None:
    """The event of a line of a log, with or without Ray's `(Name pid=1) ` before it; None for other lines."""
    found = _KIND.match(_RAY_PREFIX.sub("", plain(line)).rstrip())
    if not found:
        return None
    kind, rest = found.groups()
    try:
        match kind:
            case "note":
                return Note(rest)
            case "error":
                return Failure(rest)
            case "result":
                content = json.loads(rest)
                return RunResult(content) if isinstance(content, dict) else None
            case "epoch":
                return EpochSummary(**_fields(rest))  # type: ignore[arg-type]
            case _:
                return Progress(**_fields(rest))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None  # a line that was cut off, or of a program that prints something similar


def plain(line: str) -> str:
    """The line without colours."""
    return _ANSI.sub("", line)


def _numbers(**values: float) -> str:
    return " ".join(f"{name}={value:.6g}" for name, value in values.items())


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


def format_duration(seconds: float) -> str:
    """`75` as "1m15s", `5000` as "1h23m"; "?" where it is not known."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
