"""A kind of job as somebody would add it: it counts to a number. `python -m tests.toy_kind config.yaml` is its job."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from rich.console import Console

from jobs.log import say
from jobs.main import main
from scenerec.commands.kinds import FileKind
from scenerec.commands.screen.live_lines import Lines
from scenerec.config.file import parse_as
from scenerec.config.job import JobConfig
from scenerec.config.yaml_text import read_text
from scenerec.errors import PlanError
from scenerec.job_log import Note, Progress
from scenerec.json_object import JsonObject
from scenerec.training.plan import NodeResources


class ToyConfig(JobConfig):
    """A count: the whole of toy.yaml."""

    kind: Literal["toy"]
    """What the file describes."""
    count_to: int = Field(ge=1)
    """The last number."""


@dataclass(frozen=True)
class ToyPlan:
    """What will be counted."""

    config: ToyConfig

    def rows(self) -> list[tuple[str, str]]:
        """(what, value), for people."""
        return [("counts", f"to {self.config.count_to}")]

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {"run_url": self.config.run_url, "count_to": self.config.count_to}


class Tally(Lines):
    """Shows each number as a stroke."""

    def progress(self, progress: Progress) -> None:
        """One more."""
        self.line("|" * progress.step)


def check(config: ToyConfig, nodes: Sequence[NodeResources] | None, restart: bool) -> ToyPlan:
    """Refuses what the cluster cannot hold."""
    if nodes is not None and sum(node.cpus for node in nodes) < 1:
        raise PlanError("counting takes a CPU")
    return ToyPlan(config)


def show_result(result: JsonObject, console: Console) -> None:
    """Shows what it came to."""
    console.print(f"counted to {result['counted_to']}")


TOY = FileKind[ToyConfig](
    "toy",
    "tests.toy_kind",
    view=Tally,
    show_result=show_result,
    reports={Progress: "number"},
    check=check,
    framework=lambda config: "none",
    resumes_from_checkpoint=False,
)


def run_file(file: str) -> JsonObject:
    """Counts as the file says, and returns the result."""
    config = parse_as(ToyConfig, read_text(file), file)
    say(Note(f"counting to {config.count_to}"))
    for number in range(1, config.count_to + 1):
        say(Progress(1, 1, number, config.count_to, 1.0, 0.0, 0.0, 0.0))
    return {"counted_to": config.count_to}


if __name__ == "__main__":
    sys.exit(main("tests.toy_kind"))
