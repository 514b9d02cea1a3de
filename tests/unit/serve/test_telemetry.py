"""The access log of a replica."""

import json
from pathlib import Path

from serve.access_record import AccessRecord
from serve.telemetry import AccessLog


def record(path: str) -> AccessRecord:
    return AccessRecord("id", "GET", path, status=200)


def test_each_request_is_a_line(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "serve/access.jsonl")
    for path in ("/a", "/b"):
        log.observe(record(path))
    assert not log.path.exists()  # no request waits for the disk
    log.flush()
    assert [json.loads(line)["path"] for line in log.path.read_text().splitlines()] == ["/a", "/b"]


def test_a_full_disk_ends_nothing_and_fills_no_memory(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.jsonl")
    log.path.symlink_to("/dev/full")
    log.observe(record("/lost"))
    log.flush()
    log.path.unlink()
    log.observe(record("/kept"))
    log.flush()
    assert [json.loads(line)["path"] for line in log.path.read_text().splitlines()] == ["/kept"]
