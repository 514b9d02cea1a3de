"""What was chosen for a training, and why, as a table."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenerec.training.choice.choose import Choice


def show_choice(choice: Choice, console: Console) -> None:
    """Shows each decision with its reason, on lines as wide as the terminal."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for decision in choice.decisions:
        table.add_row(*map(Text, (decision.title, decision.shown, decision.reason)))  # no markup, whatever they hold
    console.print(table)
