"""YAML as people write it: a text becomes plain values and the line of each, or is refused in one line.

Numbers are those of YAML 1.2: 1e-3 is one, 010 is ten, and 1:30 and 2026-11-30 are words. `on` and `yes` stay truth
values, as in YAML 1.1.
"""

import os
import re
import reprlib
import stat
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from scenerec.errors import ConfigError, first_line
from scenerec.frozen import Field, dotted

_MOST_BYTES = 4 << 20
_MOST_VALUES = 100_000
_DEEPEST = 40
_LARGEST_INTEGER = 2**53  # beyond it floats skip integers
_MOST_DIGITS = 24

_INTEGER = re.compile(r"^(?:[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_REPLACED = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
_NUMBERS = ((_REPLACED[0], _INTEGER), (_REPLACED[1], _FLOAT))  # an integer is a float, too: the first counts


class _LineError(ValueError):
    """What is wrong at a line of the text."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Plain values alone, of a bounded depth."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _LineError(self.peek_event().start_mark.line + 1, "is nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    @override
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Makes a value. Raises a _LineError where PyYAML lets through what int(), float() or its own tags meet."""
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, _LineError):
            raise
        except Exception:
            kind = node.tag.rpartition(":")[2]
            raise _LineError(_line(node), f"{reprlib.repr(node.value)} cannot be read as {kind}") from None


class _Dumper(yaml.SafeDumper):
    """Puts in quotes what would be read as something else."""


def _resolvers(before: dict[Any, list[Any]], keep: bool) -> dict[Any, list[Any]]:
    """PyYAML's table from first character to (tag, expression), with our numbers in it."""
    kept = {first: [each for each in found if keep or each[0] not in _REPLACED] for first, found in before.items()}
    return {first: [*kept.get(first, ()), *_NUMBERS] for first in {*kept, *"-+.0123456789"}}


def _integer(_: yaml.SafeLoader, node: yaml.Node) -> int:
    text = str(node.value).replace("_", "")
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    if len(text) > _MOST_DIGITS or abs(value := int(text, base)) > _LARGEST_INTEGER:
        raise _LineError(_line(node), f"{reprlib.repr(text)} is too large a number")
    return value


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


_Loader.yaml_implicit_resolvers = _resolvers(yaml.SafeLoader.yaml_implicit_resolvers, keep=False)
_Loader.add_constructor(_REPLACED[0], _integer)
_Dumper.yaml_implicit_resolvers = _resolvers(yaml.SafeDumper.yaml_implicit_resolvers, keep=True)


def read_text(path: Path | str) -> str:
    """Reads a file, also from a shell's `<(...)`. Raises ConfigError."""
    try:
        path = Path(path).expanduser()
        kind = path.stat().st_mode
        is_shells = os.path.realpath(path).startswith(("/proc/", "/dev/"))
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind) and not (stat.S_ISFIFO(kind) and is_shells):
            raise ConfigError(f"{path}: cannot be read: it is a pipe or a device, not a file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        remedy = "fetch it to this machine first" if ":/" in str(path) else "No such file or directory"
        raise ConfigError(f"{path}: cannot be read: {remedy}") from None
    except (OSError, RuntimeError, ValueError) as error:  # ~NAME of nobody; a NUL in the name
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path}: cannot be read: it is larger than {_MOST_BYTES >> 20} MB: not a file of settings")
    return decode(content, str(path))


def decode(content: bytes, name: str) -> str:
    """The text of a file called `name`. Raises ConfigError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: cannot be read: not a text file in UTF-8") from None


def load_value(text: str) -> Any:
    """The value of an option's YAML. Raises ValueError."""
    return _load(text)[0]


def load_document(text: str, name: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The mapping in the text of a file called `name`, and the line of each key, by its path with dots.

    A key that stands twice is refused: YAML would silently take the last. Raises ConfigError.
    """
    try:
        document, lines = _load(text)
    except _LineError as error:
        raise ConfigError(f"{name}:{error.line}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    if document is None:
        raise ConfigError(f"{name}: is empty; see jobs/recipes for examples")
    if not isinstance(document, dict):
        raise ConfigError(f"{name}:1: must be a mapping of keys such as kind, name, data; see jobs/recipes")
    return document, lines


def dump_document(document: dict[str, Any]) -> str:
    """The text of a mapping, its keys in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _load(text: str) -> tuple[Any, dict[str, int]]:
    """The value and the lines. Raises ValueError, a _LineError where the line is known."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, {}
        walk = _Walk()
        walk.visit(root, ())
        return loader.construct_document(root), walk.lines
    except _LineError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = f"is not YAML: {getattr(error, 'problem', None) or first_line(error)}"
        raise (_LineError(mark.line + 1, reason) if mark else ValueError(reason)) from None


class _Walk:
    """Goes through the nodes of a document once, whatever aliases lead back to them."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self._values: dict[int, int | None] = {}  # of each node with all that it leads to; None while under way

    def visit(self, node: yaml.Node, field: Field) -> int:
        """The number of values in `node`, those behind aliases each time that they are met. Raises _LineError."""
        line = _line(node)
        self.lines.setdefault(dotted(field), line)
        if id(node) in self._values:
            known = self._values[id(node)]
            if known is None:
                raise _LineError(line, f"{dotted(field)}: leads back into itself by an alias")
            return known
        self._values[id(node)] = None
        values = 1 + sum(self.visit(child, path) for child, path in self._children(node, field))
        if values > _MOST_VALUES:
            raise _LineError(line, f"{dotted(field)}: aliases make more than {_MOST_VALUES} values of it")
        self._values[id(node)] = values
        return values

    def _children(self, node: yaml.Node, field: Field) -> list[tuple[yaml.Node, Field]]:
        if isinstance(node, yaml.SequenceNode):
            return [(value, (*field, index)) for index, value in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return []
        children: dict[str, tuple[yaml.Node, Field]] = {}
        for key, value in node.value:
            line = _line(key)
            if not isinstance(key, yaml.ScalarNode) or not key.value.isprintable():
                raise _LineError(line, f"{dotted(field)}: a key must be a word")
            path = (*field, key.value)
            if key.value in children:
                raise _LineError(line, f"{dotted(path)}: stands twice; remove one")
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise _LineError(line, f"{dotted(path)}: a key must be a word: put it in quotes")
            self.lines[dotted(path)] = line
            children[key.value] = value, path
        return list(children.values())
