"""A server of the embedded cluster: what is common to the Ray node and the store."""

import os
from pathlib import Path
from typing import Protocol

from cluster import loopback
from cluster.processes import is_running, spawn, terminate, wait_until
from cluster.state import ClusterState, Service, save_state
from scenerec.errors import ClusterError, last_line

_START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 30.0


class Server(Protocol):
    """A server: how it is started, asked and ended. `ports` are its own, by the names in `port_names`."""

    @property
    def name(self) -> str:
        """Key of the server in cluster.json."""

    @property
    def port_names(self) -> tuple[str, ...]:
        """Names of the ports that the server listens on."""

    @property
    def stop_patience_s(self) -> float:
        """How long the server may take to end in good order, in seconds."""

    def command(self, ports: dict[str, int]) -> list[str]:
        """Returns the program and its arguments. Raises ClusterError where the program is missing."""

    def environment(self, ports: dict[str, int]) -> dict[str, str]:
        """Returns all environment variables of the program; what it starts inherits them."""
        return dict(os.environ)

    def is_ready(self, ports: dict[str, int]) -> bool:
        """Whether the server answers."""

    def clean_up(self, ports: dict[str, int]) -> None:
        """Removes what the server leaves behind when it has ended."""


def launch(server: Server, home: Path, state: ClusterState) -> ClusterState:
    """Starts the server, without waiting for it, and records it in cluster.json."""
    ports = loopback.free_ports(server.port_names)
    command = server.command(ports)
    save_state(home, state)  # the id comes first: by it the process is found if we are killed before the next line
    pid = spawn(command, server.environment(ports), state.mark(server.name), log_path(server, home))
    state = state.with_service(server.name, Service(pid=pid, ports=ports))
    save_state(home, state)
    return state


def await_ready(server: Server, home: Path, state: ClusterState, attempts: int = 1) -> ClusterState:
    """Waits until the server answers; the state changes where it took more than one attempt.

    A server that ended by itself or does not answer in time is launched again, with other ports, `attempts` times in
    all. Raises ClusterError with what its log ended with where none of them answers; the server is ended.
    """
    service = state.services[server.name]
    mark = state.mark(server.name)
    if wait_until(lambda: server.is_ready(service.ports), lambda: is_running(service.pid, mark), _START_TIMEOUT_S):
        return state
    log = log_path(server, home)
    last = last_line(log.read_text(errors="replace"), "it said nothing")[:200]  # before it speaks of its own end
    end(server, state)
    if attempts > 1:
        return await_ready(server, home, launch(server, home, state), attempts - 1)
    raise ClusterError(f"the embedded {server.name} did not start: {last} (the whole log: {log})")


def is_up(server: Server, state: ClusterState) -> bool:
    """Whether the recorded process is running and answers.

    One that runs is asked for half a minute: whoever takes it for down starts it anew, which ends its jobs, and on a
    machine that trains on all cores an answer takes its time.
    """
    service, mark = state.services.get(server.name), state.mark(server.name)
    return service is not None and wait_until(
        lambda: is_running(service.pid, mark) and server.is_ready(service.ports),
        lambda: is_running(service.pid, mark),
        _ANSWER_TIMEOUT_S,
    )


def end(server: Server, state: ClusterState) -> int:
    """Ends the server and all that it started, also what is left of one that died; counts the processes."""
    service = state.services.get(server.name)
    ended = terminate(service.pid if service else None, state.mark(server.name), server.stop_patience_s)
    if service:
        server.clean_up(service.ports)
    return len(ended)


def log_path(server: Server, home: Path) -> Path:
    """Returns the file that the server's output goes to."""
    return home / "logs" / f"{server.name}.log"
