"""What every file that `scenerec submit` takes has in common."""

from typing import Annotated, ClassVar

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

    @property
    def run_url(self) -> str:
        """The run's own folder, output/name."""
        return f"{self.output}/{self.name}"
