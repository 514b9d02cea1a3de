"""The folder of an embedded cluster, and cluster.json in it: what was started, where, and its credentials."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from scenerec.errors import ClusterError
from scenerec.frozen import Frozen

_FILE = "cluster.json"


class Service(Frozen):
    """A server of the cluster that was started."""

    pid: int
    """Process id of the server."""
    ports: dict[str, int]
    """Ports that the server listens on, by name."""


class NodeOptions(Frozen):
    """What the Ray node was started with, and keeps until it ends."""

    object_store_mb: int = 300
    """Size of Ray's shared memory, in megabytes."""
    tls_certificate: str | None = None
    """The endpoint's certificate, a file in PEM."""
    tls_key: str | None = None
    """The certificate's key, a file in PEM."""
    max_jobs: int | None = None
    """Trainings and searches that run at once; None: any number."""


class ClusterState(Frozen):
    """The content of cluster.json. It outlives the processes: the store keeps its credentials."""

    id: str = Field(default_factory=lambda: secrets.token_hex(8))
    """Mark of the cluster's processes, by which they are told from strangers."""
    token: str = Field(default_factory=lambda: secrets.token_hex(32), repr=False)
    """Ray's authentication token: without one, every user of this machine could run code in the cluster."""
    access_key: str = Field(default_factory=lambda: secrets.token_hex(10))
    """Name of the store's user."""
    secret_key: str = Field(default_factory=lambda: secrets.token_hex(20), repr=False)
    """Password of the store's user."""
    services: dict[str, Service] = Field(default_factory=dict)
    """Servers that were started, by name: ray, store."""

    options: NodeOptions = NodeOptions()
    """What the Ray node was started with."""

    def mark(self, service: str) -> str:
        """Returns the mark of a service's processes."""
        return f"{self.id}-{service}"

    def with_service(self, name: str, service: Service) -> "ClusterState":
        """Returns this state with one service more."""
        return self.model_copy(update={"services": {**self.services, name: service}})

    def without_service(self, name: str) -> "ClusterState":
        """Returns this state with one service less."""
        services = {key: value for key, value in self.services.items() if key != name}
        return self.model_copy(update={"services": services})


def cluster_home(home: Path | str | None = None) -> Path:
    """Returns the folder of the cluster: `home`, else $SCENEREC_HOME, else ~/.scenerec. Raises ClusterError."""
    try:
        return Path(home or os.environ.get("SCENEREC_HOME") or "~/.scenerec").expanduser().absolute()
    except RuntimeError:
        raise ClusterError("you have no home folder: set HOME or SCENEREC_HOME") from None


def load_state(home: Path) -> ClusterState | None:
    """Reads the state in `home`; None if there is none of this user's. Raises ClusterError if it is damaged."""
    path = home / _FILE
    try:
        return ClusterState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, PermissionError):
        return None
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged or of another version"
        raise ClusterError(f"{path}: cannot be used: {reason}; remove the file to begin anew") from None


def save_state(home: Path, state: ClusterState) -> None:
    """Writes the state, readable for its owner alone."""
    handle, temporary = tempfile.mkstemp(dir=home, prefix=".cluster.")  # made with mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(state.model_dump_json(indent=2))
    Path(temporary).replace(home / _FILE)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Keeps other commands from starting or stopping the cluster of `home` meanwhile."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (home / "lock").open("w")
    except OSError as error:
        raise ClusterError(
            f"{home}: cannot be written ({error.strerror}): set SCENEREC_HOME to another folder"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
