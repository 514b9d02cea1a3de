"""Commands that are imported when they are needed: a listing shows their first lines, and imports none of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from scenerec.large_imports import large_imports


@dataclass(frozen=True)
class Entry:
    """A command, as a listing shows it."""

    module: str
    """The module below `scenerec.commands` whose `app` has the command, or is the command's group."""
    line: str
    """The first line of the command's docstring."""


@dataclass(frozen=True)
class Group:
    """Commands under a common name, as a listing shows them."""

    line: str
    """What they have in common, in one line."""
    commands: Mapping[str, Entry]
    """The commands by name, in the order of the listing."""


class LazyCommand(TyperCommand):
    """Stands for a command until its options are needed: when it is invoked, or its own help is asked for."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.line)
        self.module = f"scenerec.commands.{entry.module}"

    def load(self) -> TyperCommand | TyperGroup:
        """Imports the module and returns the command itself."""
        with large_imports():
            group = typer.main.get_group(import_module(self.module).app)
        return group.commands.get(str(self.name), group)  # type: ignore[return-value]

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Make the context of the command itself, which then is what runs, prints its help or completes."""
        return self.load().make_context(*args, **kwargs)


def lazy_commands(table: Mapping[str, Entry | Group]) -> dict[str, LazyCommand | TyperGroup]:
    """The commands and groups of a table, by name; nothing is imported for them."""
    return {
        name: LazyCommand(name, entry)
        if isinstance(entry, Entry)
        else TyperGroup(name=name, help=entry.line, no_args_is_help=True, commands=dict(lazy_commands(entry.commands)))
        for name, entry in table.items()
    }
