"""Looking at the node that this process runs on. Knows no Ray: what only Ray knows, the job adds."""

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil
import requests

from cluster import serve_proxy
from cluster.doctor.report import Gpu, NodeReport, OpenPort, StoreReport
from cluster.network import interface_of
from scenerec.errors import ScenerecError
from scenerec.storage import open_storage
from scenerec.storage.s3_endpoint import endpoint_variable

PACKAGES = ("ray", "torch", "torchvision", "tensorflow", "numpy", "onnxruntime")
"""Packages whose versions are compared between the nodes, and with the client's."""

_OBJECT_BYTES = 8 << 20
_READS = 5
_AMAZON = "https://s3.amazonaws.com"
_LOOPBACK = ("127.", "::1", "::ffff:127.")
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")


def versions() -> dict[str, str]:
    """Returns the versions of Python and of PACKAGES, without importing them; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def examine(address: str, session_folder: str, store: str | None) -> NodeReport:
    """Looks at this node, from a worker of Ray's.

    Args:
        address: Ray's of the node.
        session_folder: where Ray keeps the files of this session.
        store: folder in a store in which to write, read and remove an object; None: in none.
    """
    return NodeReport(
        address=address,
        name=socket.gethostname(),
        name_address=_own_name_address(),
        interface=interface_of(address),
        versions=versions(),
        gpus=_gpus(),
        store_offset_s=_store_offset_s() if store and store.startswith("s3://") else None,
        disk_free_bytes=shutil.disk_usage(session_folder).free,
        disk_path=str(Path(session_folder).parent),
        shm_free_bytes=shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        serve_variables_missing=tuple(name for name in serve_proxy.environment(Path("/tmp")) if name not in os.environ),
        token=os.environ.get("RAY_AUTH_MODE") == "token",
        tls=os.environ.get("RAY_USE_TLS") == "1",
        open_ports=open_ports(session_folder, os.getppid()),
        store=_try_store(f"{store}/doctor-{socket.gethostname()}-{os.getpid()}") if store else None,
    )


def open_ports(session_folder: str, raylet_pid: int) -> tuple[OpenPort, ...]:
    """Lists what the cluster's processes on this node listen on beyond the loopback.

    Args:
        session_folder: Ray's, which the command lines of its own processes name.
        raylet_pid: of the process below which workers, and the proxy of what is served, run.
    """
    found, below = set(), set()
    with suppress(psutil.Error):
        below = set(psutil.Process(raylet_pid).children(recursive=True))
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process not in below and not any(session_folder in word for word in process.cmdline()):
                continue
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN and not each.laddr.ip.startswith(_LOOPBACK):
                    found.add((each.laddr.port, process.name(), each.laddr.ip.removeprefix("::ffff:")))
    return tuple(OpenPort(program=program, address=ip, port=port) for port, program, ip in sorted(found))


def _own_name_address() -> str | None:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return None


def _gpus() -> tuple[Gpu, ...]:
    try:
        listed = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in listed.splitlines() if line.count(",") == 2]
    return tuple(
        Gpu(name=name, memory_mb=int(memory) if memory.isdecimal() else 0, driver=driver)
        for name, memory, driver in rows
    )


def _store_offset_s() -> float | None:
    """This clock less the store's; whole seconds are all that a Date has."""
    try:
        before_s = time.time()
        answer = requests.head(endpoint_variable()[1] or _AMAZON, timeout=10, allow_redirects=False)
        here_s = (before_s + time.time()) / 2
        return here_s - (parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5)
    except (requests.RequestException, KeyError, ValueError):
        return None


def _try_store(folder: str) -> StoreReport:
    """Writes an object, reads it and removes it. Where the store fails, the report says how."""
    try:
        storage = open_storage(folder)
        content = os.urandom(_OBJECT_BYTES)
        write_s = _seconds(lambda: storage.put("object", content))
        try:
            read_s = _seconds(lambda: storage.get("object"))
            storage.put("byte", b"1")
            latency_s = statistics.median(_seconds(lambda: storage.get("byte")) for _ in range(_READS))
        finally:
            storage.delete("object")
            storage.delete("byte")
    except ScenerecError as error:
        return StoreReport(error=str(error))
    return StoreReport(
        latency_s=latency_s, write_bytes_per_s=_OBJECT_BYTES / write_s, read_bytes_per_s=_OBJECT_BYTES / read_s
    )


def _seconds(work: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s
