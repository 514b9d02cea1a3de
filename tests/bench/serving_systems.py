"""The systems of the serving bench: how each is started, found ready, held still meanwhile, and ended."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import psutil
import yaml

from cluster import local, loopback, processes
from cluster.state import load_state
from scenerec.errors import ClusterError
from tests.bench.peers import UnavailableError, make_environment
from tests.bench.wrk import Load, Target, Wrk

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).with_name("serving_peers")
WORKERS = 2
_START_TIMEOUT_S = 180.0
TRITON_JSON_BYTES = 320
"""To which the head of a request to Triton is filled up, so that one header fits all."""


@dataclass(frozen=True)
class Setting:
    """What all systems share."""

    arch: str
    bundle: Path
    folder: Path
    """For logs, sockets and such; its path is short."""
    photographs: Sequence[bytes]
    peers: Path
    """The peers' virtual environments."""


class System(Protocol):
    """What is measured."""

    name: str

    def start(self) -> None:
        """Returns when it answers. Raises UnavailableError."""

    def processes(self) -> list[psutil.Process]:
        """All that works for it."""

    def load(self, wrk: Wrk, connections: int, seconds: float) -> Load:
        """Asks it. Raises ValueError."""

    def pause(self) -> None:
        """It takes nothing of the processor from now on."""

    def resume(self) -> None:
        """It is awake again, and as warm as before."""

    def stop(self) -> None:
        """It is gone."""


@dataclass
class Raw:
    """The limit: a process a core, each in a loop of its own; one of them stands beside a single connection."""

    setting: Setting
    name = "raw"
    _loops: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def start(self) -> None:
        """See System."""
        import pickle

        images = self.setting.folder / "photographs.pickle"
        images.write_bytes(pickle.dumps(list(self.setting.photographs)))
        command = [sys.executable, "-m", "tests.bench.serving_peers.raw_loop", str(self.setting.bundle), str(images)]
        pipe = subprocess.PIPE
        self._loops = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(WORKERS)]
        for loop in self._loops:
            assert loop.stdout is not None
            loop.stdout.readline()

    def processes(self) -> list[psutil.Process]:
        """See System."""
        return [psutil.Process(loop.pid) for loop in self._loops]

    def load(self, wrk: Wrk, connections: int, seconds: float) -> Load:
        """See System."""
        used = self._loops[:connections]
        for loop in used:
            assert loop.stdin is not None
            loop.stdin.write(f"{seconds}\n")
            loop.stdin.flush()
        found = []
        for loop in used:
            assert loop.stdout is not None
            found.append(json.loads(loop.stdout.readline()))
        latencies_ms = np.concatenate([each["latencies_ms"] for each in found])
        p50, p99 = np.percentile(latencies_ms, (50, 99))
        return Load(len(latencies_ms), max(each["seconds"] for each in found), float(p50), float(p99))

    def pause(self) -> None:
        """See System: it waits for input."""

    def resume(self) -> None:
        """See System."""

    def stop(self) -> None:
        """See System."""
        for loop in self._loops:
            assert loop.stdin is not None
            loop.stdin.close()
            loop.wait(30)


@dataclass
class Program:
    """A server that is one command; its processes stand still (SIGSTOP) while it is not measured.

    Attributes:
        command: with `{port}` where the port goes.
        path: of the address, with the leading slash.
        wrap: see Target.
        requirements: the peer has an environment of its own, of SERVING_PEERS/requirements.txt; None: this one's.
    """

    setting: Setting
    name: str
    command: Sequence[str]
    path: str
    requirements: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wrap: Any = bytes
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: "subprocess.Popen[bytes] | None" = None
    _port: int = 0

    @property
    def target(self) -> Target:
        """What wrk is told."""
        return Target(f"http://127.0.0.1:{self._port}{self.path}", self.headers, self.wrap)

    def start(self) -> None:
        """See System."""
        binaries = None
        if self.requirements:
            requirements = PEERS / f"{self.requirements}.txt"
            binaries = make_environment(self.setting.peers / self.requirements, requirements)
        self._port = free_port()
        log = self.setting.folder / f"{self.setting.arch}-{self.name.replace(' ', '-')}.log"
        command = [part.format(port=self._port) for part in self.command]
        command[0] = str((binaries or Path(sys.executable).parent) / command[0])
        environment = {
            **os.environ,
            **loopback.no_proxy(),
            **self.environment,
            "PYTHONPATH": str(ROOT),
            "PATH": os.pathsep.join((str(Path(command[0]).parent), os.environ.get("PATH", os.defpath))),
            "HOME": str(self.setting.folder),
            "BUNDLE": str(self.setting.bundle),
            "MODEL": self.setting.arch,
        }
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self.setting.folder, stdout=output, stderr=output, start_new_session=True
            )
        await_answer(self.target, self.setting.photographs[0], lambda: self._ended(log))

    def _ended(self, log: Path) -> str:
        if self._process is None or self._process.poll() is None:
            return ""
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"ended with {self._process.returncode}: {(lines or ['it said nothing'])[-1].strip()[:200]}"

    def processes(self) -> list[psutil.Process]:
        """See System."""
        return tree(self._process.pid) if self._process else []

    def load(self, wrk: Wrk, connections: int, seconds: float) -> Load:
        """See System."""
        return wrk.load(self.target, connections, seconds)

    def pause(self) -> None:
        """See System."""
        send_all(self.processes(), signal.SIGSTOP)

    def resume(self) -> None:
        """See System."""
        send_all(self.processes(), signal.SIGCONT)

    def stop(self) -> None:
        """See System."""
        if self._process is None:
            return
        doomed = self.processes()
        self.resume()
        self._process.terminate()
        _, left = psutil.wait_procs(doomed, timeout=10)
        send_all(left, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process = None


@dataclass
class OnRay:
    """Ours as users get it: an embedded cluster, HAProxy, two replicas of one core.

    Attributes:
        serve: further settings of serve.yaml.
        variables: of the environment that the cluster starts in.
    """

    setting: Setting
    name: str = "scenerec"
    serve: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    _port: int = 0
    _pid: int = 0
    _mark: str = ""

    @property
    def home(self) -> Path:
        """Of its cluster."""
        return self.setting.folder / f"home-{self.name.replace(' ', '-')}"

    def start(self) -> None:
        """See System."""
        with changed_environment({**self.variables, "SCENEREC_HOME": str(self.home)}):
            try:
                local.start(self.home, cpus=WORKERS, gpus=0, object_store_mb=100, with_store=False)
            except ClusterError as error:
                raise UnavailableError(str(error)) from None
            state = load_state(self.home)
            assert state is not None
            self._pid, self._mark = state.services["ray"].pid, f"{state.id}-ray"
            self._port = free_port()
            document = {
                "kind": "serve",
                "name": "bench",
                "registry": str(self.setting.folder / "registry"),
                "models": [{"name": self.setting.arch, "version": str(self.setting.bundle)}],
                "http": {"port": self._port, "grpc_port": None},
                "scale": {"min_replicas": WORKERS, "max_replicas": WORKERS},
            }
            for section, values in self.serve.items():
                document[section] = {**document.get(section, {}), **values}  # type: ignore[dict-item]
            config = self.home / "serve.yaml"
            config.write_text(yaml.safe_dump(document))
            command = [str(Path(sys.executable).with_name("scenerec")), "serve", "deploy", str(config)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise UnavailableError((done.stderr or done.stdout).strip()[-300:])
        await_answer(self.target, self.setting.photographs[0], lambda: "")
        time.sleep(5)  # what Ray does when it has just started

    @property
    def target(self) -> Target:
        """What wrk is told."""
        return Target(f"http://127.0.0.1:{self._port}/v1/models/{self.setting.arch}:predict")

    def processes(self) -> list[psutil.Process]:
        """See System: all of the Ray node, its controllers and dashboard too."""
        return processes.members(self._pid, self._mark) if self._pid else []

    def load(self, wrk: Wrk, connections: int, seconds: float) -> Load:
        """See System."""
        return wrk.load(self.target, connections, seconds)

    def pause(self) -> None:
        """See System."""
        send_all(self.processes(), signal.SIGSTOP)

    def resume(self) -> None:
        """See System: until what has come due meanwhile is done."""
        send_all(self.processes(), signal.SIGCONT)
        await_answer(self.target, self.setting.photographs[0], lambda: "")
        time.sleep(2)

    def stop(self) -> None:
        """See System."""
        send_all(self.processes(), signal.SIGCONT)
        local.stop(self.home, purge=True)


def systems(setting: Setting) -> list[System]:
    """All of them, the limit first."""
    uvicorn = ("uvicorn", "--host=127.0.0.1", "--port={port}", f"--workers={WORKERS}", "--log-level=warning")
    program = "tests.bench.serving_peers."
    predict = f"/v1/models/{setting.arch}:predict"
    infer = "/v2/models/scenes/infer"
    return [
        Raw(setting),
        OnRay(setting),
        Program(
            setting, "scenerec bare", [*uvicorn, "--no-access-log", "--factory", f"{program}bare_api:make"], predict
        ),
        Program(setting, "fastapi", [*uvicorn, "--no-access-log", f"{program}fastapi_server:app"], "/predict"),
        Program(
            setting, "litserve", ["python", "-m", f"{program}litserve_server", "{port}", "1"], "/predict", "litserve"
        ),
        Program(
            setting,
            "litserve batch 8",
            ["python", "-m", f"{program}litserve_server", "{port}", "8"],
            "/predict",
            "litserve",
        ),
        Program(
            setting,
            "bentoml",
            ["bentoml", "serve", f"{program}bentoml_service:Scenes", "--host=127.0.0.1", "--port={port}"],
            "/predict",
            "bentoml",
            environment={"BENTOML_DO_NOT_TRACK": "True"},
        ),
        Program(
            setting,
            "pytriton",
            ["python", "-m", f"{program}pytriton_server", "{port}", "8"],
            infer,
            "pytriton",
            headers={
                "content-type": "application/octet-stream",
                "inference-header-content-length": str(TRITON_JSON_BYTES),
            },
            wrap=triton_body,
            # Its interpreter must be of the library that its modules are.
            environment={"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or ""},
        ),
    ]


def triton_body(photograph: bytes) -> bytes:
    """A request of the Open Inference Protocol with the photograph as a binary tensor of one string."""
    tensor = struct.pack("<I", len(photograph)) + photograph
    parameters = {"binary_data_size": len(tensor)}
    images = {"name": "photographs", "shape": [1, 1], "datatype": "BYTES", "parameters": parameters}
    outputs = [{"name": name, "parameters": {"binary_data": False}} for name in ("labels", "scores")]
    return json.dumps({"inputs": [images], "outputs": outputs}).encode().ljust(TRITON_JSON_BYTES) + tensor


def await_answer(target: Target, photograph: bytes, ended: Any) -> None:
    """Returns when the server answers with labels. Raises UnavailableError."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    last = "no answer"
    headers = {"content-type": "image/jpeg", **target.headers}
    while time.monotonic() < deadline:
        if reason := ended():
            raise UnavailableError(reason)
        try:
            answer = httpx.post(target.url, content=target.wrap(photograph), headers=headers, timeout=20)
            if answer.status_code == 200 and "scene " in answer.text:
                return
            last = f"{answer.status_code}: {answer.text[:200]}"
        except httpx.HTTPError as error:
            last = str(error) or type(error).__name__
        time.sleep(0.2)
    raise UnavailableError(f"does not answer: {last}")


def tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send_all(those: Sequence[psutil.Process], number: int) -> None:
    """A signal to each."""
    for process in those:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def cpu_s(those: Sequence[psutil.Process]) -> dict[int, float]:
    """Seconds of processor time so far, of user and system together, by process id."""
    found = {}
    for process in those:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def changed_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Of this process, for a while."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
