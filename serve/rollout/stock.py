"""The loaded versions of one replica: what an assignment asks for, loaded before it is served and closed after it."""

import threading
from pathlib import Path

from scenerec.errors import ScenerecError, StorageError
from serve.loaded_version import EngineOptions, LoadedVersion, load_version
from serve.rollout.assignment import Assignment, Placement
from serve.rollout.bundle_cache import open_placement
from serve.shelf import Shelf, Weighted


class Stock:
    """Fills a shelf by assignments.

    A version that goes out of service stays loaded until the assignment after the next, or `retire`: it answers what
    its successor fails to answer, and is back at once if that is taken back.

    Args:
        shelf: what is filled.
        options: how the engines compute.
        cache: folder of bundles on this node.
    """

    def __init__(self, shelf: Shelf, options: EngineOptions, cache: Path) -> None:
        self.shelf = shelf
        self.placements: tuple[Placement, ...] = ()
        """What is served now."""
        self.refused: dict[tuple[str, str], str] = {}
        """Why a placement is not served, by its key."""
        self._options = options
        self._cache = cache
        self._loaded: dict[tuple[str, str], LoadedVersion] = {}
        self._lock = threading.Lock()

    def fill(self, assignment: Assignment) -> None:
        """Serves what is assigned. Takes seconds: not for an event loop.

        A model with a version that cannot be served keeps the versions that it has; `refused` tells why. Raises
        ScenerecError where it has none, StorageError where a version could not be fetched: what is served stays.
        """
        with self._lock:
            models: dict[str, list[Weighted]] = {}
            served: list[Placement] = []
            for name in dict.fromkeys(placement.model for placement in assignment.placements):
                placements = [each for each in assignment.placements if each.model == name]
                try:
                    models[name] = [Weighted(self._load(each), each.weight) for each in placements]
                    served += placements
                except StorageError:
                    raise  # says nothing of the version: it is tried again
                except Exception as error:
                    if name not in self.shelf.names():
                        raise
                    self._refuse(placements, error)
                    models[name] = list(self.shelf.weighted(name))
                    served += [each for each in self.placements if each.model == name]
            before = self.shelf.versions()
            wanted = [each.version for versions in models.values() for each in versions]
            standby = [version for version in before if all(version is not each for each in wanted)]
            self._close(self.shelf.replace(models, standby))
            self.placements = tuple(served)

    def retire(self) -> None:
        """Closes what is out of service."""
        with self._lock:
            self._close(self.shelf.replace({name: self.shelf.weighted(name) for name in self.shelf.names()}, []))

    def close(self) -> None:
        """Answers what waits, then ends all engines."""
        with self._lock:
            for version in self._loaded.values():
                version.engine.close()

    @property
    def failures(self) -> dict[tuple[str, str], int]:
        """How many requests a placement could not answer, by its key."""
        return {key: version.failures for key, version in self._loaded.items() if version.failures}

    def _load(self, placement: Placement) -> LoadedVersion:
        if placement.key not in self._loaded:
            bundle = open_placement(placement, self._cache)
            self._loaded[placement.key] = load_version(placement.model, placement.number, bundle, self._options)
        self.refused.pop(placement.key, None)
        return self._loaded[placement.key]

    def _refuse(self, placements: list[Placement], error: Exception) -> None:
        reason = str(error) if isinstance(error, ScenerecError) else f"{type(error).__name__}: {error}"
        for placement in placements:
            if placement.key not in self._loaded:
                self.refused[placement.key] = reason

    def _close(self, versions: list[LoadedVersion]) -> None:
        """Ends their engines. What waits is answered first; who asks in this very moment is sent to what is served."""
        for version in versions:
            for key in [key for key, loaded in self._loaded.items() if loaded is version]:
                del self._loaded[key]
            version.engine.close()
