"""Objects of JSON that are passed on as they are: a job's result, a config in a checkpoint, what Ray is told."""

import json
from collections.abc import Iterable
from typing import Any

from scenerec.errors import CheckpointError

JsonObject = dict[str, Any]
"""An object of JSON by key, as json.loads gives it; nobody has checked what it holds."""


def parse_object(content: bytes | str, where: str, keys: Iterable[str] = ()) -> JsonObject:
    """Reads an object that a run has written and that has at least `keys`.

    Raises CheckpointError, one line that begins with `where`, for what was cut off, changed or is another file.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise CheckpointError(f"{where}: is not JSON: it is damaged") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{where}: is no object of JSON: it is damaged")
    require_keys(found, where, keys)
    return found


def require_keys(found: JsonObject, where: str, keys: Iterable[str]) -> None:
    """Raises CheckpointError, as `parse_object` does, where an object lacks one of `keys`."""
    if lacking := next((key for key in keys if key not in found), None):
        raise CheckpointError(f"{where}: has no {lacking}: it is damaged, or another version's")
