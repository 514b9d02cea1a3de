"""What a cluster that did not start has written, kept with the failure: its folder goes when the test ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local import temp_folder
from cluster.state import load_state
from scenerec.errors import ClusterError

_PATTERNS = (
    "logs/*.log",
    "ray/session_*/logs/dashboard*",
    "ray/session_*/logs/gcs_server*",
    "ray/session_*/logs/raylet*",
)
_TAIL = 3000


@contextmanager
def explained_by_logs(home: Path) -> Iterator[None]:
    """Adds the ends of the logs of the cluster in `home` to a ClusterError that passes."""
    try:
        yield
    except ClusterError as error:
        state = load_state(home)
        error.add_note(f"the last of its ports: {state.services if state else None}")
        for pattern in _PATTERNS:
            for path in sorted((*home.glob(pattern), *temp_folder(home).glob(pattern))):
                if path.is_file() and (text := path.read_text(errors="replace")):
                    error.add_note(f"--- the end of {path}\n{text[-_TAIL:]}")
        raise
