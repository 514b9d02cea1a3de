"""What a cluster has written, kept with a test that fails: its folder goes when the test or the session ends."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster.local import temp_folder
from cluster.state import load_state
from scenerec.errors import ClusterError

_SERVERS = (
    "logs/*.log",
    "ray/session_2*/logs/dashboard*",
    "ray/session_2*/logs/gcs_server*",
    "ray/session_2*/logs/raylet*",
)
_WORKERS = (
    "ray/session_2*/logs/job-driver*",
    "ray/session_2*/logs/worker*",
    "ray/session_2*/logs/serve/*.log",
)
_TAIL = 3000
_MOST_FILES = 20


@contextmanager
def explained_by_logs(home: Path) -> Iterator[None]:
    """Adds the ends of the logs of the cluster in `home` to a ClusterError that passes."""
    try:
        yield
    except ClusterError as error:
        error.add_note(logs_since(home, 0, _SERVERS))
        raise


def logs_since(home: Path, since_s: float, patterns: tuple[str, ...] = (*_WORKERS, *_SERVERS)) -> str:
    """The ends of the logs to which the cluster in `home` has written since then, in seconds since 1970.

    Those of jobs, workers and replicas come first, the newest of each first.
    """
    told = []
    with suppress(ClusterError, OSError):  # a cluster that is ended meanwhile takes its files along
        state = load_state(home)
        told.append(f"the cluster's last ports: {state.services if state else None}")
        files = {path: None for pattern in patterns for path in _newest(home, pattern, since_s)}
        for path in list(files)[:_MOST_FILES]:
            if text := path.read_text(errors="replace"):
                told.append(f"--- the end of {path}\n{text[-_TAIL:]}")
    return "\n".join(told)


def _newest(home: Path, pattern: str, since_s: float) -> list[Path]:
    found = [path for path in (*home.glob(pattern), *temp_folder(home).glob(pattern)) if path.is_file()]
    times_s = {path: path.stat().st_mtime for path in found}
    return sorted((path for path in found if times_s[path] >= since_s), key=lambda path: -times_s[path])
