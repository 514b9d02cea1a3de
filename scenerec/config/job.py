"""What every file that `scenerec submit` takes has in common."""

from typing import Annotated, ClassVar

from pydantic import Field

from scenerec.config.block import Block
from scenerec.config.location import Location
from scenerec.frozen import Pattern

Name = Annotated[
    str,
    Pattern(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        "must begin with a letter or digit, and have no others than letters, digits, `.`, `_` and `-`, at most 63",
    ),
]
"""Of a run, an application or a served model: it becomes a part of addresses."""


Label = Annotated[
    str,
    Pattern(
        r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}",
        "must begin with a letter or digit, and have no others than letters, digits, `.`, `_`, `/` and `-`, at most 63",
    ),
]
"""The name or the value of a label."""


class QueueConfig(Block):
    """The job's place among others. Everyone who sees the cluster's dashboard can read it."""

    priority: int = Field(0, ge=-1000, le=1000)
    """On a cluster that limits its jobs, those of a higher number go first; what runs already is not ended."""
    labels: dict[Label, Label] = Field(default_factory=dict)
    """Names and values by which `scenerec list --label` finds the job, such as {team: vision}."""


class CostConfig(Block):
    """What a node costs."""

    node_hour: float = Field(gt=0)
    """Price of a whole node for an hour."""
    currency: Annotated[str, Pattern("[A-Z]{3}", "must be three capitals, such as USD")] = "USD"
    """Currency of the price."""


class JobConfig(Block):
    """A job: base of the whole of a file that is submitted. A subclass says its kind by a Literal."""

    command: ClassVar[str] = "scenerec submit"
    """The command that takes a file of this kind."""

    kind: str
    """What the file describes."""
    name: Name
    """Name of the run; its results go to output/name."""
    output: Location
    """Where runs go: s3:// or a folder that all nodes share."""
    job: QueueConfig = QueueConfig()
    """The job's place among others on the cluster."""
    cost: CostConfig | None = None
    """What a node costs: plan and result of a training then say what that costs. It changes nothing else."""

    @property
    def run_url(self) -> str:
        """The run's own folder, output/name."""
        return f"{self.output}/{self.name}"
