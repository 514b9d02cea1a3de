"""The versions of models that one process serves, and which of them a request gets."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.errors import ScenerecError
from scenerec.inference.predictors.engine import Answer, ClosedError
from serve.errors import ErrorKind, NotServedError, short
from serve.loaded_version import LoadedVersion


@dataclass(frozen=True)
class Weighted:
    """A version and its share of the requests that name none."""

    version: LoadedVersion
    weight: float
    """The share, in (0, 1]; those of a model add up to 1."""


class Shelf:
    """What is served now. It is replaced as a whole: a request sees the shelf before a roll-out or the one after."""

    def __init__(self) -> None:
        self._models: Mapping[str, tuple[Weighted, ...]] = {}
        self._standby: tuple[LoadedVersion, ...] = ()

    def replace(
        self, models: Mapping[str, Sequence[Weighted]], standby: Sequence[LoadedVersion] = ()
    ) -> list[LoadedVersion]:
        """Serves these from now on, and keeps `standby` at hand for what they fail to answer.

        Returns what is neither, for the caller to close.
        """
        before = [*self.versions(), *self._standby]
        self._models = {name: tuple(versions) for name, versions in models.items()}
        self._standby = tuple(standby)
        kept = {id(version) for version in (*self.versions(), *standby)}
        return [version for version in before if id(version) not in kept]

    def names(self) -> list[str]:
        """Names of the models that are served."""
        return list(self._models)

    def weighted(self, model: str) -> tuple[Weighted, ...]:
        """The versions of a model. Raises NotServedError."""
        try:
            return self._models[model]
        except KeyError:
            message = f"no model {short(model)} is served here; there are: {', '.join(self.names())}"
            raise NotServedError(ErrorKind.UNKNOWN_MODEL, message) from None

    def versions(self) -> list[LoadedVersion]:
        """All that is served."""
        return [each.version for versions in self._models.values() for each in versions]

    def pick(self, model: str, draw: float, number: str = "") -> LoadedVersion:
        """The version of this number; without one, a version by its weight, for a `draw` from [0, 1).

        Raises NotServedError.
        """
        versions = self.weighted(model)
        if number:
            for each in versions:
                if each.version.number == number:
                    return each.version
            known = ", ".join(each.version.number for each in versions)
            message = f"version {short(number)} of {model} is not served; there are: {known}"
            raise NotServedError(ErrorKind.UNKNOWN_VERSION, message)
        for each in versions:
            draw -= each.weight
            if draw < 0:
                return each.version
        return versions[0].version

    async def ask(
        self,
        version: LoadedVersion,
        photographs: Sequence[bytes | np.ndarray],
        timeout_s: float,
        coordinates: Sequence[np.ndarray | None] | None = None,
    ) -> tuple[LoadedVersion, list[Answer]]:
        """The answers of this version, and the version itself. `coordinates` are as in `Engine.ask_all`.

        Where it has left the shelf meanwhile, or fails for a reason of its own, another version that is served answers
        in its place. Raises what Engine.ask_all raises; where nothing else is served, what the version raised.
        """
        tried: list[LoadedVersion] = []
        ends_at = time.perf_counter() + timeout_s
        while True:
            tried.append(version)
            try:
                left_s = ends_at - time.perf_counter()
                return version, await version.engine.ask_all(photographs, left_s, coordinates)
            except ScenerecError as error:
                if not isinstance(error, ClosedError):
                    raise
                failure: Exception = error
            except Exception as error:  # the model's own: onnxruntime has an error class for each of its codes
                version.failures += 1
                failure = error
            others = (each for each in self._instead_of(version, photographs) if each not in tried)
            if (other := next(others, None)) is None:
                raise failure
            version = other

    def _instead_of(self, version: LoadedVersion, photographs: Sequence[bytes | np.ndarray]) -> Iterator[LoadedVersion]:
        """Other versions that can answer: prepared images are of one size."""
        takes_any = all(isinstance(each, bytes) for each in photographs)
        for each in (*(each.version for each in self._models.get(version.model, ())), *self._standby):
            if each.model == version.model and (takes_any or each.image_size == version.image_size):
                yield each
