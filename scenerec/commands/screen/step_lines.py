"""The steps of an export, each on a line with its seconds."""

from typing import TextIO

from scenerec.export.steps import Step

_ERASE_LINE = "\r\x1b[K"


class StepLines:
    """Writes what an export says.

    On a terminal the last line names the step that is at work, until what comes next is written over it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.at_work = ""

    def say(self, said: Step | str) -> None:
        """A step that begins or is done, or a line of its own."""
        if isinstance(said, Step) and said.seconds is None:
            self.at_work = said.name
        elif isinstance(said, Step):
            self.at_work = ""
            self._print(f"{said.name:<22}{said.seconds:7.1f} s")
        else:
            self._print(said)
        self._show(f"  {self.at_work} ..." if self.at_work else "")

    def __enter__(self) -> "StepLines":
        return self

    def __exit__(self, *_: object) -> None:
        """An error may follow, which stands alone."""
        self._show("")

    def _print(self, line: str) -> None:
        self._show("")
        print(f"  {line}", file=self.stream)

    def _show(self, line: str) -> None:
        if self.stream.isatty():
            print(f"{_ERASE_LINE}{line}", end="", file=self.stream, flush=True)
