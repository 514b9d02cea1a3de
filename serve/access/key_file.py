"""The file of API keys, as `scenerec serve key` writes it."""

from collections.abc import Callable

import yaml

from scenerec.errors import ConfigError
from scenerec.storage import open_storage, split_url
from serve.access.keys import ApiKey, ApiKeys, new_key, parse_keys

_ATTEMPTS = 10


def add_key(location: str, name: str, images_per_s: float | None, burst: float, replace: bool = False) -> str:
    """Adds a new key and returns it; with `replace` those of the same name are let in no more.

    Raises ConfigError for a name that has a key already, and for limits that make no sense; StorageError.
    """
    key, entry = new_key(name, images_per_s, burst)

    def with_it(keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        if not replace and any(each.name == name for each in keys):
            raise ConfigError(
                f"{location}: {name} has a key already: with `--replace` it is let in no more, and a new one is made"
            )
        return (*(each for each in keys if each.name != name), entry)

    _change(location, with_it)
    return key


def remove_key(location: str, name: str) -> None:
    """Takes the key of this name out. Raises ConfigError where there is none; StorageError."""

    def without(keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        if all(each.name != name for each in keys):
            known = ", ".join(each.name for each in keys) or "none"
            raise ConfigError(f"{location}: has no key of {name}; there are: {known}")
        return tuple(each for each in keys if each.name != name)

    _change(location, without)


def _change(location: str, change: Callable[[tuple[ApiKey, ...]], tuple[ApiKey, ...]]) -> None:
    """Reads, changes and writes the file; of two who do so at once none is lost."""
    folder, file = split_url(location)
    storage = open_storage(folder)
    for _attempt in range(_ATTEMPTS):
        found = storage.get_versioned(file)
        keys = parse_keys(found[0], location) if found else ApiKeys()
        document = ApiKeys(keys=change(keys.keys)).model_dump(mode="json", exclude_none=True)
        if storage.put_if(file, yaml.safe_dump(document, sort_keys=False).encode(), found[1] if found else None):
            return
    raise ConfigError(f"{location}: others keep changing it: try again")
