"""Load on an HTTP server from wrk (github.com/wg/wrk), which takes next to nothing of the processor that it shares."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LIMIT_S = 60
_GRACE_S = 10

# After SECONDS no connection sends another request; when the last answer has come, wrk is interrupted. So every request
# that has cost the server something is counted. wrk asks `delay` before each request of a connection.
_SCRIPT = """
local ffi = require("ffi")
ffi.cdef[[
    typedef struct { long s; long ns; } bench_time;
    int clock_gettime(int clock, bench_time *now);
    int getpid(void);
    int kill(int pid, int signal);
]]
local clock = ffi.new("bench_time")
local function now()
    ffi.C.clock_gettime(1, clock)
    return tonumber(clock.s) + tonumber(clock.ns) / 1e9
end

local threads, requests, sent = {}, {}, 0
began, ended, idle, connections = 0, 0, 0, 0

function setup(thread) table.insert(threads, thread) end

function init(arguments)
    local folder, count = arguments[1], tonumber(arguments[2])
    connections, seconds = tonumber(arguments[3]), tonumber(arguments[4])
    for index = 0, count - 1 do
        local file = io.open(folder .. "/" .. index, "rb")
        requests[index + 1] = wrk.format("POST", nil, nil, file:read("*a"))
        file:close()
    end
end

function delay()
    local at = now()
    if began == 0 then began = at end
    if at < began + seconds then return 0 end
    ended, idle = at, idle + 1
    if idle == connections then ffi.C.kill(ffi.C.getpid(), 2) end
    return 1e6
end

function request()
    sent = sent + 1
    return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    local elapsed = threads[1]:get("ended") - threads[1]:get("began")
    print(string.format(
        'RESULT {"requests": %d, "failed": %d, "seconds": %.4f, "p50_ms": %.3f, "p99_ms": %.3f}',
        summary.requests, failed, elapsed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
    ))
end
"""


@dataclass(frozen=True)
class Target:
    """How a server is asked about a photograph."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    wrap: Callable[[bytes], bytes] = bytes
    """From a JPEG file to the body of a request."""


@dataclass(frozen=True)
class Load:
    """What one load has done."""

    requests: int
    """Answered with status 200."""
    seconds: float
    """From the first request to the last answer."""
    p50_ms: float
    p99_ms: float


class Wrk:
    """The requests of one run, in `folder`.

    Raises SystemExit where wrk is missing.
    """

    def __init__(self, folder: Path, photographs: Sequence[bytes]) -> None:
        if shutil.which("wrk") is None:
            raise SystemExit("wrk is missing: install it (Debian and Ubuntu: apt install wrk)")
        self._folder = folder
        self._photographs = photographs
        self._script = folder / "load.lua"
        self._script.write_text(_SCRIPT)
        self._bodies: dict[Callable[[bytes], bytes], Path] = {}

    def load(self, target: Target, connections: int, seconds: float) -> Load:
        """Asks over so many connections, each for the next photograph as soon as it has its answer.

        Raises ValueError where an answer has another status than 200 (or 2xx), or does not come.
        """
        arguments = ["--threads=1", f"--connections={connections}", f"--duration={_LIMIT_S}s", f"--timeout={_LIMIT_S}s"]
        headers = {"content-type": "image/jpeg", **target.headers}
        for name, value in headers.items():
            arguments += ["--header", f"{name}: {value}"]
        command = [
            *("wrk", *arguments, f"--script={self._script}", target.url, "--"),
            *(str(self._bodies_of(target)), str(len(self._photographs)), str(connections), str(seconds)),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S + _GRACE_S)
        except subprocess.TimeoutExpired:
            raise ValueError(f"wrk did not end within {_LIMIT_S + _GRACE_S} s") from None
        results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not results:
            raise ValueError(f"wrk: {(done.stderr or done.stdout).strip()[-300:]}")
        found = json.loads(results[0].removeprefix("RESULT "))
        if found["failed"] or not found["requests"]:
            raise ValueError(f"{found['failed']} of {found['requests']} requests failed")
        return Load(found["requests"], found["seconds"], found["p50_ms"], found["p99_ms"])

    def _bodies_of(self, target: Target) -> Path:
        if target.wrap not in self._bodies:
            folder = self._folder / f"bodies-{len(self._bodies)}"
            folder.mkdir()
            for index, photograph in enumerate(self._photographs):
                (folder / str(index)).write_bytes(target.wrap(photograph))
            self._bodies[target.wrap] = folder
        return self._bodies[target.wrap]
