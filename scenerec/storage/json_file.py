"""Small JSON files in a storage."""

import json

from scenerec.errors import NotFoundError, StorageError
from scenerec.json_object import JsonObject
from scenerec.storage.protocol import Storage


def read_json(storage: Storage, key: str, *fields: str) -> JsonObject | None:
    """The object of JSON at `key`, None where nothing is there.

    Raises StorageError for what is no JSON, is no object, or lacks one of the `fields`.
    """
    try:
        content = storage.get(key)
    except NotFoundError:
        return None
    try:
        found = json.loads(content)
        missing = [field for field in fields if field not in found]
    except (ValueError, TypeError, RecursionError):
        found, missing = None, []
    if not isinstance(found, dict) or missing:
        reason = f"it lacks {missing[0]}" if missing else "it holds no JSON object"
        raise StorageError(f"{storage.url}/{key}: is damaged: {reason}: delete it, or put back the right one")
    return found
