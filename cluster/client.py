"""Jobs on a cluster, by the dashboard's HTTP interface: submitted, listed, followed, stopped."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from cluster import loopback, ray_private
from cluster.address import Address
from cluster.job import Job
from cluster.node import Node
from cluster.ray_node import TRAIN_ENVIRONMENT
from scenerec.errors import ClusterError, last_line

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_JOB_ENVIRONMENT = {
    **TRAIN_ENVIRONMENT,
    # Ray would hold back lines that resemble each other, and colour the name of the worker before each line.
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
    # A job that is stopped writes down that it was: on a busy machine Ray's 3 s, after which it is killed, are too few.
    "RAY_JOB_STOP_WAIT_TIME_S": "10",
}


_TIMEOUT_S = 60  # of silence

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 1.0  # between two looks at a job: a quiet one is asked less and less often
_GROWTH_OF_PAUSES = 1.1


class ClusterClient:
    """The nodes and jobs of one cluster. Every method raises ClusterError where the cluster does not do its part."""

    patience_s = 60.0
    """How long a dashboard may be away while a job is followed, in seconds."""
    stall_s = 30.0
    """Silence of a running job's log after which its stream is opened anew: Ray's can stop without a word."""
    lively_lines = 200
    """Lines of a job's log that are asked for as well: Ray's stream brings what is new up to two seconds late."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._jobs_client: JobSubmissionClient | None = None
        if address.embedded:
            os.environ.update(loopback.no_proxy())

    def nodes(self) -> list[Node]:
        """Lists the nodes that are alive, the head first."""
        alive = [node for node in self._known_nodes() if node["state"] == "ALIVE"]
        load = ray_private.load_of_nodes(self._get(ray_private.LOAD_PATH))
        nodes = [Node.parse(node, load.get(node["node_id"]) or {}) for node in alive]
        return sorted(nodes, key=lambda node: not node.is_head)

    def lost_nodes(self) -> list[str]:
        """Lists the addresses of nodes that are gone though nobody has ended them, and that did not come back."""
        known = self._known_nodes()
        there = {node["node_ip"] for node in known if node["state"] == "ALIVE"}
        return sorted({node["node_ip"] for node in known if ray_private.was_lost(node)} - there)

    def submit(
        self,
        name: str,
        run_url: str,
        entrypoint: str,
        working_dir: Path,
        metadata: Mapping[str, str],
        env: Mapping[str, str],
        packages: Iterable[Path] = (),
    ) -> str:
        """Sends `working_dir` to the cluster and runs `entrypoint` in it; returns the job's id.

        Metadata and env can be read by everyone who sees the dashboard: no secrets in them. The job can import
        `packages`, folders of Python's. A node keeps them, compiled, for the next job that brings the same ones.
        """
        from ray.exceptions import AuthenticationError

        job_id = f"{name}-{secrets.token_hex(3)}"
        env_vars = {**_JOB_ENVIRONMENT, "SCENEREC_JOB_ID": job_id, **env}
        modules = [str(package) for package in packages]
        code = {"py_modules": modules} if modules else {}  # Ray cannot unpack a list of none
        try:
            self._ray_client().submit_job(
                entrypoint=entrypoint,
                submission_id=job_id,
                runtime_env={"working_dir": str(working_dir), **code, "env_vars": env_vars},
                metadata={**metadata, "name": name, "run": run_url},
            )
        except AuthenticationError:
            raise self._refused() from None
        except (ConnectionError, requests.RequestException):
            raise self._unreachable() from None
        except (RuntimeError, ValueError) as error:
            raise ClusterError(f"{self.address.url}: {last_line(str(error), 'the request failed')}") from None
        return job_id

    def jobs(self) -> list[Job]:
        """Lists all jobs that scenerec submitted, the newest first."""
        details = self.request("GET", "/api/jobs/")
        ours = [Job.parse(each) for each in details if each["submission_id"] and "scenerec" in (each["metadata"] or {})]
        return sorted(ours, key=lambda job: job.started_s, reverse=True)

    def job(self, job_id: str) -> Job:
        """Returns the job as it is now."""
        return Job.parse(self.request("GET", f"/api/jobs/{job_id}"))

    def logs(self, job_id: str) -> str:
        """Returns all that the job has printed so far."""
        return self.request("GET", f"/api/jobs/{job_id}/logs")["logs"]

    def follow(self, job_id: str, skip: int = 0) -> Iterator[str]:
        """Yields the lines of the job's log, without their ends, after the first `skip`, until the job has ended."""
        seen = skip
        away_since: float | None = None
        while True:
            for line in self._stream(job_id, told=seen):
                seen += 1
                yield line
            try:
                ended = self.job(job_id).ended
                away_since = None
            except ClusterError:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > self.patience_s:
                    raise
                ended = False
            if ended:
                yield from _lines(self.logs(job_id))[seen:]
                return
            time.sleep(1)

    def stop(self, job_id: str, timeout_s: float = 60.0) -> Job:
        """Asks the job to end, waits until it has, and returns it."""
        self.request("POST", f"/api/jobs/{job_id}/stop")
        deadline = time.monotonic() + timeout_s
        while not (job := self.job(job_id)).ended:
            if time.monotonic() > deadline:
                raise ClusterError(f"{job_id}: has not ended within {timeout_s:g} s of being asked to; ask again")
            time.sleep(0.3)
        return job

    def request(self, method: str, path: str) -> Any:
        """Returns the JSON that the dashboard answers. Ray's client asks in the same way, and takes long to import."""
        response = self._response(method, path)
        try:
            return response.json()
        except ValueError:
            raise self._no_dashboard(response, path) from None

    def text(self, method: str, path: str) -> str:
        """Returns the text that the dashboard answers."""
        return self._response(method, path).text

    def _stream(self, job_id: str, told: int) -> Iterator[str]:
        """Lines of the log after the first `told`, for as long as the stream holds and says something."""
        loop = asyncio.new_event_loop()
        chunks = self._ray_client().tail_job_logs(job_id)
        streamed, partial = 0, ""
        last_news, pause_s = time.monotonic(), _SHORTEST_PAUSE_S
        try:
            waiting = loop.create_task(_next(chunks))
            while time.monotonic() - last_news < self.stall_s:
                loop.run_until_complete(asyncio.wait({waiting}, timeout=pause_s))
                if not waiting.done():
                    pause_s = min(_GROWTH_OF_PAUSES * pause_s, _LONGEST_PAUSE_S)
                    with suppress(ClusterError):
                        if told < self.lively_lines:
                            new = self.logs(job_id).split("\n")[told:-1]
                            if new:
                                pause_s = _SHORTEST_PAUSE_S
                            yield from new
                            told += len(new)
                        if self.job(job_id).ended:
                            return
                    continue
                chunk = waiting.result()
                if chunk is None:
                    return
                last_news, pause_s = time.monotonic(), _SHORTEST_PAUSE_S
                waiting = loop.create_task(_next(chunks))
                *lines, partial = (partial + chunk).split("\n")
                yield from lines[max(told - streamed, 0) :]
                streamed += len(lines)
                told = max(told, streamed)
        finally:
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(waiting)
            loop.run_until_complete(chunks.aclose())
            loop.close()

    def _known_nodes(self) -> list[dict[str, Any]]:
        # Ray keeps a thousand that have ended, among which those that are alive must not be cut off.
        return self._get(f"{ray_private.NODES_PATH}?detail=1&limit=10000")["result"]["result"]

    def _get(self, path: str) -> Any:
        """Returns the data of an answer of the dashboard's own API."""
        answer = self.request("GET", path)
        if not isinstance(answer, dict) or "data" not in answer:
            raise ClusterError(f"{self.address.url}: is no Ray dashboard (no data for {path})")
        return answer["data"]

    def _response(self, method: str, path: str) -> requests.Response:
        try:
            response = requests.request(
                method, f"{self.address.url}{path}", headers=self.address.headers, timeout=_TIMEOUT_S
            )
        except requests.RequestException:
            raise self._unreachable() from None
        if response.status_code in (401, 403):
            raise self._refused()
        if response.ok:
            return response
        if response.text.lstrip().startswith("<"):  # a page comes from something else
            raise self._no_dashboard(response, path)
        raise ClusterError(f"{self.address.url}: {last_line(response.text, 'the request failed')}")

    def _no_dashboard(self, response: requests.Response, path: str) -> ClusterError:
        return ClusterError(f"{self.address.url}: is no Ray dashboard ({response.status_code} for {path})")

    def _ray_client(self) -> "JobSubmissionClient":
        if self._jobs_client is None:
            from ray.job_submission import JobSubmissionClient

            ray_private.silence_uploads()
            self._jobs_client = JobSubmissionClient(self.address.url, headers=dict(self.address.headers))
        return self._jobs_client

    def _unreachable(self) -> ClusterError:
        what = "the cluster up" if self.address.embedded else "the address the dashboard's, and the cluster up"
        return ClusterError(f"{self.address.url}: cannot be reached: is {what}?")

    def _refused(self) -> ClusterError:
        return ClusterError(f"{self.address.url}: refuses this token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN")


async def _next(chunks: AsyncIterator[str]) -> str | None:
    """The next part of a log; None at the end of the stream, whatever ended it: it can be opened anew."""
    try:
        return await anext(chunks, None)
    except Exception:
        return None


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []
