"""The model registry: numbered bundles that never change, and aliases that move between them.

    NAME/7/               a bundle (see `scenerec.inference.bundles.bundle`); its bundle.json makes it a version
    NAME/7/claim.json     by whom the number was taken, before the files go up
    NAME/aliases/production.json

Numbers are taken and aliases are moved by conditional writes: of two who try at once, one wins and the other is told.
"""

import json
import re
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from scenerec.errors import RegistryError
from scenerec.inference.bundles.bundle import INFO_FILE, Bundle, open_bundle, read_info
from scenerec.inference.bundles.info import BundleInfo
from scenerec.storage import Storage, open_storage

CLAIM_FILE = "claim.json"
"""Name of the file that takes a number before the bundle's files go up."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REFERENCE = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<alias>{_NAME.pattern})|:(?P<version>[1-9][0-9]*))?")
_ATTEMPTS = 20  # to take a number while others do


@dataclass(frozen=True)
class Move:
    """A step of an alias: it came to stand at a version."""

    version: int
    """Number of the version."""
    moved_at: str
    """When the alias was moved: UTC, ISO 8601."""
    reason: str
    """What the gates said, or who overruled them."""


@dataclass(frozen=True)
class Alias:
    """A name for whichever version is meant at the time: `production`."""

    name: str
    """Name of the alias."""
    moves: tuple[Move, ...]
    """Where the alias has stood, oldest first; the last move holds."""
    baseline: int
    """Number of the version that candidates are compared with: the best that the gates have let here, whatever stands
    here now. So versions that are a little worse each time do not get far."""

    @property
    def version(self) -> int:
        """Number of the version that the alias stands at."""
        return self.moves[-1].version

    @property
    def previous(self) -> int | None:
        """Number of the version that the alias stood at before the present one; None where there is none."""
        return next((move.version for move in reversed(self.moves) if move.version != self.version), None)


@dataclass(frozen=True)
class Version:
    """A bundle of a model in the registry."""

    model: str
    """Name of the model."""
    number: int
    """Number of the version, from 1 on."""
    url: str
    """Address of the bundle."""
    info: BundleInfo
    """Content of the bundle's bundle.json."""


class Registry:
    """The models below a folder or s3:// prefix, by name, version and alias."""

    def __init__(self, url: str) -> None:
        self.storage: Storage = open_storage(url)

    @property
    def url(self) -> str:
        """Folder or s3:// prefix of the registry."""
        return self.storage.url

    def models(self) -> list[str]:
        """Lists the names of the models that have a version."""
        return sorted({key.split("/")[0] for key in self._keys("") if key.endswith(f"/{INFO_FILE}")})

    def version_numbers(self, model: str) -> list[int]:
        """Lists the complete versions of a model, oldest first."""
        keys = (key.split("/") for key in self._keys(f"{model}/"))
        return sorted(int(parts[1]) for parts in keys if len(parts) == 3 and parts[2] == INFO_FILE)

    def version(self, model: str, number: int) -> Version:
        """Looks a version up. Raises RegistryError where there is no such version."""
        numbers = self.version_numbers(model)
        if number not in numbers:
            known = ", ".join(map(str, numbers))
            raise self._lacks(model, f"has no version {number} (there are: {known})")
        url = f"{self.url}/{model}/{number}"
        return Version(model, number, url, read_info(url))

    def aliases(self, model: str) -> list[Alias]:
        """Lists a model's aliases, by name."""
        keys = [key for key in self._keys(f"{model}/aliases/") if key.endswith(".json")]
        return [alias for key in keys if (alias := self.alias(model, key.split("/")[-1].removesuffix(".json")))]

    def alias(self, model: str, name: str) -> Alias | None:
        """Looks an alias up; None if it was never set."""
        found = self.storage.get_versioned(_alias_key(model, name))
        return _parse_alias(name, found[0]) if found else None

    def resolve(self, reference: str) -> Version:
        """Looks up the version that `NAME@ALIAS`, `NAME:NUMBER` or `NAME` (the newest) means.

        Raises RegistryError where there is none.
        """
        return self.version(*self.locate(reference))

    def locate(self, reference: str) -> tuple[str, int]:
        """Returns model and number of what `resolve` finds; for an alias or a number by one request at most."""
        model, alias_name, number = parse_reference(reference)
        if alias_name:
            alias = self.alias(model, alias_name)
            if alias is None:
                names = ", ".join(each.name for each in self.aliases(model))
                raise self._lacks(
                    model,
                    f"has no alias {alias_name}{f' (there are: {names})' if names else ''}: "
                    f"set it with `scenerec registry promote {model}:VERSION {alias_name}`",
                )
            number = alias.version
        if number:
            return model, number
        if numbers := self.version_numbers(model):
            return model, numbers[-1]
        raise self._lacks(model, "has no version")

    def push(self, bundle: Bundle, model: str) -> Version:
        """Stores a verified bundle as the model's next version.

        Raises RegistryError where no number can be taken, StorageError where the store does not answer.
        """
        check_name(model)
        number = self._claim(model, bundle)
        folder = f"{model}/{number}"
        for name in bundle.info.files:
            self.storage.put(f"{folder}/{name}", bundle.folder / name)
        self.storage.put(f"{folder}/{INFO_FILE}", bundle.info.model_dump_json(indent=1).encode())
        return self.version(model, number)

    def open(self, version: Version) -> Bundle:
        """Fetches and verifies a version. Raises BundleError where it is damaged, StorageError."""
        return open_bundle(version.url)

    def check_serving(self, version: Version, alias: Alias | None) -> None:
        """Makes sure that an alias which may be served (as a version stands at it that can be) stays so.

        Raises RegistryError where this version cannot be served.
        """
        if version.info.can_be_served or alias is None:
            return
        if self.version(version.model, alias.version).info.can_be_served:
            name = f"{version.model}:{version.number}"
            raise RegistryError(
                f"{name} is a bundle of format {version.info.format}, which no endpoint serves, and {version.model}@"
                f"{alias.name} stands at one that may be served: give it an alias of its own: "
                f"`scenerec registry promote {name} {version.info.format}`"
            )

    def move(
        self, model: str, alias_name: str, number: int, reason: str, expected: int | None, baseline: int | None = None
    ) -> Alias:
        """Moves an alias to a version, if it still stands at `expected` (None: if it is not set yet).

        The next candidates are compared with `baseline`, by default the version itself. Raises RegistryError where
        somebody else has moved the alias meanwhile, where there is no such version, and as `check_serving` does.
        """
        check_name(alias_name)
        version = self.version(model, number)
        key = _alias_key(model, alias_name)
        found = self.storage.get_versioned(key)
        alias = _parse_alias(alias_name, found[0]) if found else None
        stands_at = alias.version if alias else None
        if stands_at == expected:
            self.check_serving(version, alias)
            moved_to = Alias(
                alias_name, (*(alias.moves if alias else ()), Move(number, _now(), reason)), baseline or number
            )
            content = {
                "moves": [asdict(move) for move in moved_to.moves],
                "baseline": moved_to.baseline,
                "id": uuid.uuid4().hex,
            }
            if self.storage.put_if(key, json.dumps(content, indent=1).encode(), found[1] if found else None):
                return moved_to
            moved = self.alias(model, alias_name)
            stands_at = moved.version if moved else None
        raise RegistryError(
            f"{model}@{alias_name} was moved meanwhile: it stands at {stands_at}, not {expected}: look, and try again"
        )

    def delete(self, model: str, number: int) -> None:
        """Deletes a version; its number is not used again. Raises RegistryError where an alias stands at it."""
        self.version(model, number)
        if holders := [alias.name for alias in self.aliases(model) if alias.version == number]:
            raise RegistryError(f"{model}:{number} is {', '.join(holders)}: promote another version first")
        folder = f"{model}/{number}/"
        self.storage.delete(f"{folder}{INFO_FILE}")  # first: from here on it is no version
        for key in self._keys(folder):
            if not key.endswith(f"/{CLAIM_FILE}"):
                self.storage.delete(key)

    def _claim(self, model: str, bundle: Bundle) -> int:
        """Takes the next number, which stays taken also where the upload then fails."""
        for _ in range(_ATTEMPTS):
            folders = {key.split("/")[1] for key in self._keys(f"{model}/")}
            number = max((int(folder) for folder in folders if folder.isdecimal()), default=0) + 1
            claim = {"id": uuid.uuid4().hex, "claimed_at": _now(), "source": bundle.url}
            if self.storage.put_if(f"{model}/{number}/{CLAIM_FILE}", json.dumps(claim).encode(), None):
                return number
        raise RegistryError(f"{self.url}: no number could be taken for {model}: too many push at once, try again")

    def _keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.storage.list(prefix)]

    def _lacks(self, model: str, what: str) -> RegistryError:
        """The error of a model that lacks something; for one that is not there at all it lists those that are."""
        if self.version_numbers(model):
            return RegistryError(f"{self.url}: {model} {what}")
        known = ", ".join(self.models()) or "none yet"
        return RegistryError(f"{self.url}: no model {model} (there are: {known}): `scenerec registry push BUNDLE`")


def parse_reference(reference: str) -> tuple[str, str | None, int | None]:
    """Splits `NAME`, `NAME@ALIAS` or `NAME:NUMBER` into model, alias and version number.

    Raises RegistryError for what is none of these.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise RegistryError(f"{reference!r} is no reference: write NAME, NAME@ALIAS or NAME:VERSION")
    return match["name"], match["alias"], int(match["version"]) if match["version"] else None


def check_name(name: str) -> None:
    """Raises RegistryError for what cannot name a model or an alias."""
    if not _NAME.fullmatch(name) or name == "aliases":
        raise RegistryError(f"{name!r} cannot be a name: letters, digits, dots, dashes and underscores, at most 63")


def _alias_key(model: str, name: str) -> str:
    return f"{model}/aliases/{name}.json"


def _parse_alias(name: str, content: bytes) -> Alias:
    try:
        document = json.loads(content)
        moves = tuple(Move(**move) for move in document["moves"])
        return Alias(name, moves, document.get("baseline", moves[-1].version))
    except (ValueError, TypeError, KeyError, IndexError):
        raise RegistryError(f"the alias {name} is damaged: it is not what `scenerec registry promote` writes") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
