"""A node whose disk is full."""

from pathlib import Path

import pytest

from jobs.full_disk import full_disk_named, full_disk_told
from jobs.train import failure_of_workers
from scenerec.errors import StorageError


def test_the_node_is_named() -> None:
    named = pytest.raises(StorageError, match=r"^node 10\.0\.0\.12: no space is left on its disk")
    with named as raised, full_disk_named("10.0.0.12"):
        Path("/dev/full").write_text("x")
    told = failure_of_workers(f"{StorageError.__module__}.{StorageError.__name__}: {raised.value}")
    assert (type(told), str(told)) == (StorageError, str(raised.value))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(FileNotFoundError), full_disk_named("10.0.0.12"):
        Path("/nowhere/at/all").read_text()


def test_the_node_is_named_on_which_ray_could_not_prepare_a_worker() -> None:
    told = (
        "Training failed due to controller error:\nFailed to set up runtime environment.\n"
        "[Node 10.0.0.12] Traceback (most recent call last):\nOSError: [Errno 28] No space left on device\n"
    )
    assert str(full_disk_told(told)).startswith("node 10.0.0.12: no space is left on its disk: ")
    assert full_disk_told(told.replace("No space left on device", "Permission denied")) is None
    assert full_disk_told("OSError: [Errno 28] No space left on device") is None
