"""Servers of this machine: free ports for them, and requests to them."""

import errno
import http.client
import os
import random
import socket
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

# Below the ranges from which Linux (32768 up) and macOS (49152 up) take the ports of outgoing connections:
# a port found free stays free until the server that it is for has started. And below 30000, where replicas of Ray Serve
# begin to look for ports of their own.
_FIRST, _LAST = 20000, 29_999
_CLAIM_S = 3600.0
_CLAIMS = Path(f"/tmp/scenerec-{os.getuid()}-ports")  # whatever TMPDIR says, for all starts of a user


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """Finds a free TCP port of 127.0.0.1 for each name, which no other call of this user gives away meanwhile."""
    with ExitStack() as held:
        ports: dict[str, int] = {}
        while len(ports) < len(names):
            candidate = held.enter_context(socket.socket())
            port = random.randint(_FIRST, _LAST)
            with suppress(OSError):
                candidate.bind(("127.0.0.1", port))
                if _claim(port):
                    ports[names[len(ports)]] = port
        return ports


def why_taken(host: str, port: int) -> str | None:
    """Says why no server can listen at a port of this machine, such as which program does; None where one can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not count
        try:
            candidate.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"{_listener(port)} listens there already"
            return f"{host} cannot be listened on: {error.strerror}"
    return None


def get(url: str, headers: dict[str, str] | None = None) -> bytes | None:
    """Fetches the body at an address of this machine, past any proxy of the environment; None without an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers or {}), timeout=5) as response:
            return response.read()
    except (OSError, http.client.HTTPException):
        return None


def no_proxy() -> dict[str, str]:
    """Returns NO_PROXY in both spellings, with this machine added: the cluster is never asked through a proxy."""
    hosts = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    missing = [host for host in ("127.0.0.1", "localhost") if host not in hosts.split(",")]
    value = ",".join([*([hosts] if hosts else []), *missing])
    return {"NO_PROXY": value, "no_proxy": value}


def _claim(port: int) -> bool:
    """Whether the port was not given away within the last hour; from now on it is.

    Until its server listens, a port looks free: of two clusters that start at once, with 30 ports each, one in fifteen
    pairs would share one.
    """
    claim = _CLAIMS / str(port)
    try:
        claim.parent.mkdir(mode=0o700, exist_ok=True)
        if claim.exists() and time.time() - claim.stat().st_mtime > _CLAIM_S:
            claim.unlink(missing_ok=True)
        claim.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True  # nowhere to write it down: as if nobody else started anything
    return True


def _listener(port: int) -> str:
    """The program that listens at a port, by name and process id; of other users' the system does not say it."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return "a program of another user"
