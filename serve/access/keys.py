"""Who may call: API keys, kept as hashes in a file that is read again whenever it changes."""

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field, ValidationError, field_validator, model_validator

from scenerec.config.file import parse_as
from scenerec.errors import ConfigError
from scenerec.frozen import Frozen, first_problem
from scenerec.storage import open_storage, split_url
from serve.access.rate import TokenBucket, take
from serve.errors import ErrorKind, RequestError, retry_later


class ApiKey(Frozen):
    """One caller."""

    name: str = Field(min_length=1)
    """Who it is, for the access log."""
    sha256: str
    """Hash of the key, in hexadecimal: the file does not betray the keys."""
    images_per_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Images that it may send in a second on average, over all replicas; unlimited by default."""
    burst: float = Field(20, ge=1, allow_inf_nan=False)
    """Images that it may send at once, over all replicas."""

    @field_validator("sha256")
    @classmethod
    def _is_a_hash(cls, sha256: str) -> str:
        # A pattern in the field would be told with what does not match it: that may be the key itself.
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError("must be the SHA-256 of a key in hexadecimal: let `scenerec serve key` write it")
        return sha256


class ApiKeys(Frozen):
    """The whole file."""

    keys: tuple[ApiKey, ...] = ()
    """All who may call."""

    @model_validator(mode="after")
    def _each_once(self) -> "ApiKeys":
        """Refuses a key that stands twice: its last entry would decide in whose name, and by whose rate, it calls."""
        owners: dict[str, str] = {}
        for key in self.keys:
            if key.sha256 in owners:
                raise ValueError(f"keys: {owners[key.sha256]} and {key.name} have the same key: remove one")
            owners[key.sha256] = key.name
        return self


def new_key(name: str, images_per_s: float | None = None, burst: float = 20) -> tuple[str, ApiKey]:
    """A new key of 256 random bits, and its entry for the file. Raises ConfigError, which names the field."""
    key = f"sk-{secrets.token_urlsafe(32)}"
    try:
        return key, ApiKey(name=name, sha256=_digest(key), images_per_s=images_per_s, burst=burst)
    except ValidationError as error:
        raise ConfigError(f"a key: {first_problem(error)}") from None


def parse_keys(content: bytes, name: str) -> ApiKeys:
    """The keys that a file's content lists. Raises ConfigError, which names the field."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: is not text: write it with `scenerec serve key`") from None
    return parse_as(ApiKeys, text, name) if text.strip() else ApiKeys()


def read_keys(location: str) -> tuple[ApiKeys, str]:
    """The keys of a file, and a tag that changes with the file. Raises ConfigError, StorageError."""
    folder, file = split_url(location)
    found = open_storage(folder).get_versioned(file)
    if found is None:
        raise ConfigError(f"{location}: is not there: write it with `scenerec serve key NAME --file {location}`")
    return parse_keys(found[0], location), found[1]


@dataclass
class Caller:
    """Somebody who may call, and what is left of the rate."""

    key: ApiKey
    bucket: TokenBucket | None = None


class Guard:
    """Lets those through who have a key and have not called too often.

    Args:
        keys: who may call; None lets everyone through.
        replicas: processes that share the callers, at least 1: each allows its part of a rate.
        clock: seconds, for the rates.
    """

    def __init__(
        self, keys: ApiKeys | None = None, replicas: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.replicas = replicas
        self._clock = clock
        self._callers: list[Caller] | None = None
        self.replace(keys)

    def replace(self, keys: ApiKeys | None) -> None:
        """Other keys from now on; whoever stays keeps what is left of the rate."""
        buckets = {caller.key.sha256: caller.bucket for caller in self._callers or ()}
        self._callers = None if keys is None else [Caller(key, buckets.get(key.sha256)) for key in keys.keys]

    def identify(self, authorization: str, api_key: str) -> Caller | None:
        """Who calls; None where everyone may.

        Args:
            authorization: the header of that name, "" where it is missing.
            api_key: the header x-api-key, "" where it is missing.

        Raises RequestError (401) for no key and for an unknown one.
        """
        if self._callers is None:
            return None
        scheme, _, token = authorization.partition(" ")
        given = api_key or (token.strip() if scheme.lower() == "bearer" else "")
        if not given:
            raise _unauthorized("this endpoint asks for an API key: send `Authorization: Bearer KEY` or `x-api-key`")
        digest, found = _digest(given), None
        for caller in self._callers:  # all of them, each in constant time: how long it takes says nothing of the keys
            if hmac.compare_digest(caller.key.sha256, digest):
                found = caller
        if found is None:
            raise _unauthorized("this API key is not known here")
        return found

    def admits(self, authorization: str, api_key: str) -> bool:
        """Whether `identify` lets who sends these headers in."""
        try:
            self.identify(authorization, api_key)
        except RequestError:
            return False
        return True

    def charge(self, caller: Caller | None, images: int) -> None:
        """Takes `images` from the caller's rate. Raises RequestError (429) with the seconds to wait."""
        if caller is None or caller.key.images_per_s is None:
            return
        per_s = caller.key.images_per_s / self.replicas
        burst = max(caller.key.burst / self.replicas, 1.0)
        caller.bucket, wait_s = take(caller.bucket, self._clock(), images, per_s, burst)
        if wait_s:
            message = f"{caller.key.name} may send {caller.key.images_per_s:g} images/s: wait {wait_s:.1f} s"
            raise retry_later(ErrorKind.RATE_LIMITED, message, math.ceil(wait_s))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _unauthorized(message: str) -> RequestError:
    return RequestError(ErrorKind.UNAUTHORIZED, message, {"www-authenticate": "Bearer"})
