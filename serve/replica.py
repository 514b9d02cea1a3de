"""One replica of an application: the API in a process of Ray Serve, and the loop that keeps its models up to date."""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from ray import serve
from ray.serve.handle import DeploymentHandle

from scenerec.config.serve import HttpConfig, ServeConfig
from scenerec.errors import ScenerecError
from scenerec.frozen import Frozen
from serve.access.admission import RequestLimits
from serve.access.keys import Guard, read_keys
from serve.access_record import AccessRecord
from serve.api import Api
from serve.http.express import open_way
from serve.loaded_version import EngineOptions
from serve.oip.grpc_service import GrpcInference
from serve.ray_private import RUNNING_REQUESTS_KEY, node_log_folder
from serve.rollout.assignment import Assignment, Report
from serve.rollout.bundle_cache import cache_folder
from serve.rollout.stock import Stock
from serve.shelf import Shelf
from serve.telemetry import AccessLog, Metrics

logger = logging.getLogger("ray.serve")

_KEYS_POLL_S = 5.0
_FLUSH_S = 1.0
_RETRY_S = 1.0


class ReplicaSettings(Frozen):
    """What a replica is started with. Which versions it serves, and how many replicas there are, may change later."""

    application: str
    """Name of the application."""
    http: HttpConfig
    """The endpoint."""
    engine: EngineOptions
    """How the engine of each model computes."""
    pins_cpus: bool
    """Whether the cores are its own."""
    standby_s: float
    """How long a version that went out of service is kept at hand."""

    @classmethod
    def of(cls, config: ServeConfig) -> "ReplicaSettings":
        """The settings of the replicas of an application."""
        cpus, batching = config.scale.cpus_per_replica, config.batching
        engine = EngineOptions(
            threads=cpus,
            decoders=cpus - 1,
            max_batch=batching.max_batch,
            max_queue=batching.max_queue,
            max_pixels=config.http.max_pixels,
            uses_gpu=config.scale.gpus_per_replica > 0,
        )
        return cls(
            application=config.name,
            http=config.http,
            engine=engine,
            pins_cpus=config.scale.pin_cpus,
            standby_s=config.rollout.watch_s,
        )

    @property
    def limits(self) -> RequestLimits:
        """What each request may ask for."""
        return RequestLimits(int(self.http.max_body_mb * 1e6), self.http.max_images, self.http.timeout_s)


@serve.ingress()
class Replica(GrpcInference):
    """Serves what the roll-out of its application, `serve.rollout.rollout.Rollout`, assigns."""

    def __init__(self, settings: ReplicaSettings, rollout: DeploymentHandle) -> None:
        self._settings = settings
        self._rollout = rollout
        self._name = serve.get_replica_context().replica_tag
        self._revision = -1
        if settings.pins_cpus:
            _pin(settings.engine.threads)
        http = settings.http
        guard = Guard(read_keys(http.api_keys)[0] if http.api_keys else None)
        super().__init__(Shelf(), guard, settings.limits, self._observe)
        self._stock = Stock(self.shelf, settings.engine, cache_folder())
        self._metrics = Metrics(settings.application) if http.metrics else None
        self._log = AccessLog(node_log_folder() / "serve" / f"access_{self._name}.jsonl") if http.access_log else None
        self._tasks: list[asyncio.Task[None]] = []

    async def __serve_build_asgi_app__(self) -> Api:
        """Ray Serve calls it after __init__; the replica takes requests once it has returned.

        What it returns answers those that Ray Serve's own proxy brings, where no replica ran when they came.
        """
        await self._fill(await self._rollout.next_assignment.remote(self._report()))
        loops = [self._follow(), self._flush()]
        if keys := self._settings.http.api_keys:
            loops.append(self._reload_keys(keys))
        self._tasks = [asyncio.get_running_loop().create_task(loop) for loop in loops]
        open_way(self._api(adds_request_id=True), self._settings.http.route_prefix)
        return self._api(adds_request_id=False)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Ray Serve asks how much is to be done here; by itself it would know of gRPC alone."""
        return {RUNNING_REQUESTS_KEY: self.load.count}

    def _observe(self, record: AccessRecord) -> None:
        if self._metrics:
            self._metrics.observe(record)
        if self._log:
            self._log.observe(record)

    async def __del__(self) -> None:
        """Ray Serve calls it when the replica has drained."""
        for task in self._tasks:
            task.cancel()
        with suppress(Exception):
            await self._rollout.leave.remote(self._name)
        await asyncio.to_thread(self._stock.close)
        if self._log:
            self._log.flush()

    def _api(self, adds_request_id: bool) -> Api:
        return Api(self.shelf, self.guard, self.limits, self.observe, self.draw, self.load, adds_request_id)

    async def _follow(self) -> None:
        """Asks for the next assignment, for ever; while nobody answers, what is served stays."""
        while True:
            try:
                assignment = await self._rollout.next_assignment.remote(self._report())
                self.guard.replicas = assignment.replicas
                if assignment.revision != self._revision:
                    await self._fill(assignment)
            except Exception as error:
                logger.warning("no assignment from the roll-out: %s", error)
                await asyncio.sleep(_RETRY_S)

    async def _fill(self, assignment: Assignment) -> None:
        await asyncio.to_thread(self._stock.fill, assignment)
        self._revision = assignment.revision
        if self._metrics:
            self._metrics.serving([(version.model, version.number) for version in self.shelf.versions()])
        asyncio.get_running_loop().call_later(self._settings.standby_s, self._retire, assignment.revision)

    def _retire(self, revision: int) -> None:
        """What this assignment took out of service has stood by for long enough."""
        if revision == self._revision:
            asyncio.get_running_loop().run_in_executor(None, self._stock.retire)

    def _report(self) -> Report:
        return Report(
            self._name, self._revision, self._stock.placements, dict(self._stock.refused), self._stock.failures
        )

    async def _flush(self) -> None:
        while self._log:
            await asyncio.sleep(_FLUSH_S)
            self._log.flush()

    async def _reload_keys(self, location: str) -> None:
        """A file that cannot be read, or is wrong, leaves the keys as they are."""
        seen, complaint = "", ""
        while True:
            try:
                keys, tag = await asyncio.to_thread(read_keys, location)
                if tag != seen:
                    self.guard.replace(keys)
                    seen, complaint = tag, ""
            except ScenerecError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    logger.warning("the API keys stay as they are: %s", error)
            await asyncio.sleep(_KEYS_POLL_S)


def _pin(cores: int) -> None:
    """Binds the replica to cores of its own on this node: all its threads, of which Ray has begun some already."""
    rank = serve.get_replica_context().rank.local_rank
    available = sorted(os.sched_getaffinity(0))
    own = {available[(rank * cores + offset) % len(available)] for offset in range(cores)}
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), own)
