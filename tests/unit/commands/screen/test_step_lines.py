"""What an export shows of its steps."""

import io

from scenerec.commands.screen.step_lines import StepLines
from scenerec.export.steps import Step

DONE = ["  network                   1.3 s\n", "  fp32: top-1 75%\n"]


class Terminal(io.StringIO):
    """Keeps what it is told to show."""

    def isatty(self) -> bool:
        return True


def say_all(stream: io.StringIO) -> str:
    """Two steps, with a line amid the second, which does not end."""
    with StepLines(stream) as lines:
        for said in (Step("network"), Step("network", 1.26), Step("int8"), "fp32: top-1 75%"):
            lines.say(said)
    return stream.getvalue()


def test_a_file_gets_what_is_done() -> None:
    assert say_all(io.StringIO()).splitlines(keepends=True) == DONE


def test_a_terminal_shows_the_step_at_work_until_something_follows() -> None:
    erase = "\r\x1b[K"
    shown = say_all(Terminal()).split(erase)
    assert shown[1] == "  network ..."
    assert shown.count("  int8 ...") == 2
    assert shown[-1] == ""
    assert [line for line in shown if line.endswith("\n")] == [
        "  network                   1.3 s\n",
        "  fp32: top-1 75%\n",
    ]
