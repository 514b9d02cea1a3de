"""A node whose disk is full."""

from pathlib import Path

import pytest

from jobs.full_disk import full_disk_named
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
