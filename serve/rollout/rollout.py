"""The part of an application that decides what its replicas serve: it follows the registry's aliases.

One process, without a share of a core. A new version answers its golden images here before a replica hears of it; each
replica lets it answer them again. Replicas ask by long polls, each with a report; while this process is away they go
on with what they serve.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from scenerec.config.serve import ServeConfig, ServedModelConfig
from scenerec.errors import ScenerecError, StorageError
from scenerec.inference.bundles.registry import Registry
from serve.loaded_version import EngineOptions, load_version
from serve.rollout.assignment import Assignment, Placement, Report
from serve.rollout.bundle_cache import cache_folder, digest_of, open_placement
from serve.rollout.plan import ModelState, Placements, advance, failure, needs_proof, refuse, roll_back

logger = logging.getLogger("ray.serve")

_POLL_PATIENCE_S = 5.0
_SILENCE_S = 3 * _POLL_PATIENCE_S
"""After which a replica is taken to be gone."""
_HISTORY = 100


@dataclass(frozen=True)
class RolloutEvent:
    """Something that happened to a model."""

    at_s: float
    """When, in seconds since 1970."""
    model: str
    """Name of the model."""
    what: str
    """`rolled out`, `rolled back`, `refused` or `unresolved`."""
    detail: str
    """Which versions, or why."""


class Rollout:
    """Decides what the replicas of an application serve: it follows the registry's aliases.

    Ray Serve calls `reconfigure` with a ServeConfig's document, first and when it changes.
    """

    def __init__(self) -> None:
        self._config: ServeConfig
        self._registry: Registry
        self._known: dict[tuple[str, int], tuple[str, str]] = {}  # address and digest, by model and number
        self._models: dict[str, ModelState] = {}
        self._wanted: dict[str, Placements] = {}
        self._revision = 0
        self._reports: dict[str, tuple[float, Report]] = {}
        self._events: deque[RolloutEvent] = deque(maxlen=_HISTORY)
        self._store_error = ""
        self._changed = asyncio.Event()
        self._look_now = asyncio.Event()
        self._cache = cache_folder()
        self._starting = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    async def reconfigure(self, document: Mapping[str, Any]) -> None:
        """Other models, or other settings, from the next look at the registry on."""
        self._config = ServeConfig.model_validate(document)
        self._registry, self._known = Registry(self._config.registry), {}
        names = [model.name for model in self._config.models]
        gone = self._models.keys() - set(names)
        self._models = {name: self._models.get(name, ModelState()) for name in names}
        if gone:
            self._announce()
        self._look_now.set()

    async def next_assignment(self, report: Report) -> Assignment:
        """What to serve, at once where it differs from what `report` says, else after some seconds.

        Raises ScenerecError where what is configured cannot be served.
        """
        async with self._starting:
            await self._start()
        self._reports[report.replica] = (time.monotonic(), report)
        self._judge()
        if report.revision == self._revision:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _POLL_PATIENCE_S)
        return self._assignment()

    def leave(self, replica: str) -> None:
        """A replica is closing down."""
        self._reports.pop(replica, None)

    def status(self) -> dict[str, Any]:
        """What is served, wanted and refused, by whom, and what happened, for people."""
        return {
            "name": self._config.name,
            "config": self._config.model_dump(mode="json"),
            "revision": self._revision,
            "models": {
                name: {
                    "serving": [asdict(placement) for placement in state.current],
                    "wanted": [asdict(placement) for placement in self._wanted.get(name, ())],
                    "refused": state.refused.get(self._wanted.get(name, ()), ""),
                }
                for name, state in self._models.items()
            },
            "served_by": {
                report.replica: {"revision": report.revision, "serving": [str(each) for each in report.placements]}
                for report in self._live_reports()
            },
            "store_error": self._store_error,
            "events": [asdict(event) for event in self._events],
        }

    async def _start(self) -> None:
        if self._watching is None:
            for model in self._config.models:
                await self._follow(model, first=True)
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._config.rollout.poll_s)
            self._look_now.clear()
            for model in self._config.models:
                try:
                    await self._follow(model)
                except Exception:  # nothing may end the watch
                    logger.exception("following %s failed", model.name)
            self._judge()

    async def _follow(self, model: ServedModelConfig, first: bool = False) -> None:
        """Brings what the model's references mean now into service, if it proves itself."""
        wanted: Placements | None = None
        try:
            wanted = await asyncio.to_thread(self._resolve, model)
            self._store_error = ""
            self._wanted[model.name] = wanted
            if not needs_proof(self._models[model.name], wanted):
                return
            await asyncio.to_thread(self._prove, wanted)
        except ScenerecError as error:
            if first:
                raise
            if isinstance(
                error, StorageError
            ):  # it says nothing of the version: what is served stays, and is in memory
                self._store_error = str(error)
            elif wanted is None:
                self._say(model.name, "unresolved", str(error))
            else:
                self._models[model.name] = refuse(self._models[model.name], wanted, str(error))
                self._say(model.name, "refused", f"{_names(wanted)}: {error}")
            return
        self._models[model.name] = advance(self._models[model.name], wanted, time.monotonic())
        self._announce()
        self._say(model.name, "rolled out", _names(wanted))

    def _resolve(self, model: ServedModelConfig) -> Placements:
        main = self._place(model.name, model.version)
        if model.canary is None:
            return (main,)
        canary = self._place(model.name, model.canary.version)
        if canary.key == main.key:
            return (main,)
        return replace(main, weight=1 - model.canary.weight), replace(canary, weight=model.canary.weight)

    def _place(self, model: str, reference: str) -> Placement:
        if "/" in reference:
            digest = digest_of(reference)
            return Placement(model, digest[:12], reference, digest)
        place = self._registry.locate(reference)  # all that is asked at each look: versions never change
        if place not in self._known:
            url = self._registry.version(*place).url
            self._known[place] = (url, digest_of(url))
        return Placement(model, str(place[1]), *self._known[place])

    def _prove(self, wanted: Placements) -> None:
        """Each must answer its golden images on this machine. Raises ScenerecError."""
        for placement in wanted:
            bundle = open_placement(placement, self._cache)
            load_version(placement.model, placement.number, bundle, EngineOptions()).engine.close()

    def _judge(self) -> None:
        """Takes back what has turned out to be no good."""
        now, rollout = time.monotonic(), self._config.rollout
        for name, state in self._models.items():
            reason = failure(state, self._live_reports(), now, rollout.watch_s, rollout.max_failures)
            if reason:
                self._models[name] = roll_back(state, reason, now)
                self._announce()
                self._say(name, "rolled back", f"{_names(state.current)} -> {_names(state.previous)}: {reason}")

    def _announce(self) -> None:
        self._revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _assignment(self) -> Assignment:
        placements = tuple(placement for state in self._models.values() for placement in state.current)
        return Assignment(self._revision, placements, max(len(self._live_reports()), 1))

    def _live_reports(self) -> list[Report]:
        oldest = time.monotonic() - _SILENCE_S
        self._reports = {name: each for name, each in self._reports.items() if each[0] > oldest}
        return [report for _, report in self._reports.values()]

    def _say(self, model: str, what: str, detail: str) -> None:
        event = RolloutEvent(time.time(), model, what, detail)
        if self._events and replace(event, at_s=self._events[-1].at_s) == self._events[-1]:
            return  # it goes on
        self._events.append(event)
        logger.info("%s: %s: %s", model, what, detail)


def _names(placements: Placements) -> str:
    return " + ".join(
        f"{placement} ({placement.weight:.0%})" if placement.weight < 1 else str(placement) for placement in placements
    )
