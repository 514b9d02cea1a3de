"""Gauges for Prometheus, which Ray's agent of the node exports, and which last as long as whoever sets them."""

import threading
from collections.abc import Callable, Mapping
from typing import Self

from ray.util.metrics import Gauge

Value = float | Callable[[], float]
"""A number, or what is asked for it each time that it is told."""

_EVERY_S = 5.0  # Ray's agent forgets a gauge that was not told for two of its rounds, 20 s in all


class LastingGauges:
    """Gauges that are told again and again, by a thread: one that was set once would be gone after 20 s.

    So they last until `close` is called or the process ends, and then are gone within 20 s. Ray's counters, which its
    agent keeps for ever, would leave the series of all runs behind. Ray puts `ray_` before the names.

    Args:
        descriptions: of the gauges, by name.
        labels: that all of them have.
    """

    def __init__(self, descriptions: Mapping[str, str], labels: Mapping[str, str]) -> None:
        self._descriptions, self._labels = descriptions, labels
        self._gauges: dict[str, Gauge] = {}
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], Value] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="gauges", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set(self, name: str, value: Value, **labels: str) -> None:
        """Tells a gauge's value, from now on; a gauge has the same labels each time. From any thread."""
        if name not in self._gauges:
            keys = (*self._labels, *labels)
            self._gauges[name] = Gauge(name, self._descriptions[name], tag_keys=keys)
        with self._lock:
            self._values[name, tuple(labels.items())] = value
        self._tell(name, labels, value)

    def drop(self, name: str) -> None:
        """Tells a gauge no more, whatever its labels."""
        with self._lock:
            self._values = {key: value for key, value in self._values.items() if key[0] != name}

    def close(self) -> None:
        """Tells nothing more, also where something is set later."""
        self._closed.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._closed.wait(_EVERY_S):
            with self._lock:
                values = dict(self._values)
            for (name, labels), value in values.items():
                self._tell(name, dict(labels), value)

    def _tell(self, name: str, labels: Mapping[str, str], value: Value) -> None:
        if not self._closed.is_set():
            self._gauges[name].set(value() if callable(value) else value, {**self._labels, **labels})
