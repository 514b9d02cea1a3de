"""A chosen training as the text of a train.yaml, with the reason of each value above it. Pure."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from scenerec.config.yaml_text import dump_document
from scenerec.training.choice.choose import Choice, Decision

_WIDTH = 100


def train_yaml(heading: Sequence[str], fixed: Mapping[str, Any], choice: Choice, more: Mapping[str, Any]) -> str:
    """The text of a train.yaml.

    Args:
        heading: lines that stand first, as comments.
        fixed: values by their keys that were not chosen: name, data sets, output.
        choice: what was chosen.
        more: what somebody has set beside, by key; it goes before all else.
    """
    reasons: dict[str, str] = {}
    values: dict[str, Any] = {"kind": "train", **fixed}
    for decision in choice.decisions:
        values |= decision.settings
        first = next(iter(decision.settings))
        reasons[first] = _comment(decision)
    values |= more
    tree: dict[str, Any] = {}
    for key in sorted(values, key=_place):
        *blocks, last = key.split(".")
        block = tree
        for name in blocks:
            block = block.setdefault(name, {})
        block[last] = values[key]
    lines = [f"# {line}".rstrip() for line in heading]
    for key, value in tree.items():
        lines += _lines(key, value, reasons, "", key)
    return "\n".join(lines) + "\n"


_ORDER = (
    "kind",
    "name",
    "framework",
    "recipe",
    "data",
    "model",
    "optimize",
    "scale",
    "checkpoint",
    "job",
    "cost",
    "output",
)


def _place(key: str) -> tuple[int, ...]:
    """Blocks in the order of the recipes; within one as they come (sorting is stable)."""
    first = key.split(".")[0]
    return (_ORDER.index(first) if first in _ORDER else len(_ORDER),)


def _comment(decision: Decision) -> str:
    return f"{decision.title}: {decision.reason}" if decision.reason else ""


def _lines(name: str, value: Any, reasons: Mapping[str, str], indent: str, key: str) -> list[str]:
    lines = []
    if reason := reasons.get(key):
        lines += textwrap.wrap(reason, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
    if isinstance(value, dict) and value:
        lines.append(f"{indent}{name}:")
        for inner, each in value.items():
            lines += _lines(inner, each, reasons, f"{indent}  ", f"{key}.{inner}")
        return lines
    text = json.dumps(value) if isinstance(value, (list, tuple, dict)) else dump_document({name: value}).strip()
    return [*lines, f"{indent}{name}: {text}" if isinstance(value, (list, tuple, dict)) else f"{indent}{text}"]
