"""What each request leaves behind: a line of JSON in the access log, and Ray's metrics for Prometheus."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ray.util.metrics import Counter, Histogram

from cluster.gauges import LastingGauges
from serve.access_record import AccessRecord

_SERVING = "scenerec_serving_version"
_SECONDS = tuple(0.001 * 2**power for power in range(14))
# Ray takes the middle of a bucket for what is in it: so 1 and 2 are exact, and none is far off.
_BATCHES = (0.5, 1.5, *(2**power + 0.5 for power in range(1, 8)))
_ROTATE_BYTES = 64 << 20


class Metrics:
    """The counters and histograms of one replica; Ray's agent of its node exports those of all."""

    def __init__(self, application: str) -> None:
        tags = ("application", "model", "version")
        common = {"application": application}

        def histogram(name: str, description: str, boundaries: Sequence[float]) -> Histogram:
            made = Histogram(f"scenerec_{name}", description, boundaries=list(boundaries), tag_keys=tags)
            made.set_default_tags(common)
            return made

        self._requests = Counter("scenerec_requests", "Answered requests.", tag_keys=(*tags, "status", "code"))
        self._images = Counter("scenerec_images", "Images in answered requests.", tag_keys=tags)
        for each in (self._requests, self._images):
            each.set_default_tags(common)
        self._gauges = LastingGauges({_SERVING: "1 for each version in service."}, common)
        self._histograms = {
            "total_s": histogram("request_seconds", "From the first byte to the answer.", _SECONDS),
            "queued_s": histogram("queue_seconds", "Waiting for the model.", _SECONDS),
            "prepared_s": histogram("prepare_seconds", "Decoding and resizing the images of a request.", _SECONDS),
            "inferred_s": histogram("infer_seconds", "The network, on the batch of a request.", _SECONDS),
            "batch_size": histogram("batch_size", "Images that the network took together.", _BATCHES),
        }
        self._tags: dict[tuple[str, str], dict[str, str]] = {}

    def observe(self, record: AccessRecord) -> None:
        """Counts an answered request."""
        tags = self._tags.setdefault((record.model, record.version), {"model": record.model, "version": record.version})
        self._requests.inc(1, {**tags, "status": str(record.status), "code": record.code})
        if not record.images or record.code:
            return
        self._images.inc(record.images, tags)
        for field, histogram in self._histograms.items():
            histogram.observe(getattr(record, field), tags)

    def serving(self, versions: Sequence[tuple[str, str]]) -> None:
        """Notes which versions are in service, as (model, version)."""
        self._gauges.drop(_SERVING)
        for model, version in versions:
            self._gauges.set(_SERVING, 1.0, model=model, version=version)


class AccessLog:
    """Lines of JSON, kept in memory until `flush`, so that no request waits for the disk.

    Args:
        path: of the file; when it has grown large it is moved to the same name with `.1`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)

    def observe(self, record: AccessRecord) -> None:
        """Notes an answered request."""
        self._lines.append(json.dumps(as_document(record, time.time())))

    def flush(self) -> None:
        """Writes what was noted. What the disk does not take is lost: it must not fill the memory instead."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        with suppress(OSError):
            if self.path.exists() and self.path.stat().st_size > _ROTATE_BYTES:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            with self.path.open("a") as file:
                file.write("\n".join(lines) + "\n")


def as_document(record: AccessRecord, now_s: float) -> dict[str, str | float]:
    """What the access log says of a request; what does not apply is left out."""
    document: dict[str, str | float] = {
        "time": round(now_s, 3),
        "request_id": record.request_id,
        "method": record.method,
        "path": record.path,
        "status": record.status,
        "total_ms": round(record.total_s * 1e3, 2),
    }
    for name in ("code", "model", "version", "caller", "images", "batch_size"):
        if value := getattr(record, name):
            document[name] = value
    for name in ("queued", "prepared", "inferred"):
        if seconds := getattr(record, f"{name}_s"):
            document[f"{name}_ms"] = round(seconds * 1e3, 2)
    if trace_id := record.trace.split("-")[1:2]:
        document["trace_id"] = trace_id[0]
    return document
