"""The table in which Ray's head keeps the submitted jobs, whose metadata a job's own process changes here.

Private to Ray, as is what `jobs.ray_private` uses. While a job's process runs nobody else writes its entry: Ray does
so before it starts the process, and when that has ended.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.dashboard.modules.job.common import JobInfo, JobInfoStorageClient
from ray.exceptions import RaySystemError, RpcError

from cluster.job import Job, Turn

Answer = TypeVar("Answer")


class RayJobTable:
    """The jobs of the cluster whose head is at `address`, HOST:PORT. Methods raise OSError where it does not answer."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._table: JobInfoStorageClient | None = None

    def jobs(self) -> list[Job]:
        """Returns all that scenerec submitted, in any order."""
        found = self._ask(lambda table: table.get_all_jobs())
        return [_parse(id, info) for id, info in found.items() if "scenerec" in (info.metadata or {})]

    def note(self, job_id: str, turn: Turn, waits_for: str) -> None:
        """Notes in the metadata of a job, which this process is that of, where it is in the queue."""

        async def write(table: JobInfoStorageClient) -> None:
            info = await table.get_info(job_id)
            metadata = {**(info.metadata or {}), "turn": turn.value, "waits_for": waits_for}
            await table.put_info(job_id, replace(info, metadata=metadata))

        self._ask(write)

    def _ask(self, request: Callable[[JobInfoStorageClient], Awaitable[Answer]]) -> Answer:
        async def answer() -> Answer:
            return await request(self._table)

        try:
            self._table = self._table or JobInfoStorageClient(GcsClient(address=self._address))
            return asyncio.run(answer())
        except (RpcError, RaySystemError, TimeoutError) as error:
            self._table = None  # the head may have begun anew
            raise OSError(str(error)) from None


def _parse(job_id: str, info: JobInfo) -> Job:
    return Job.parse({**json.loads(json.dumps(info.to_json())), "submission_id": job_id})
