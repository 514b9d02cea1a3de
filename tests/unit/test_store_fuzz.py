"""Damaged answers of stores and web servers: one line, never a traceback. `make fuzz` tries more of the same."""

from tests.store_fuzz import fuzz_downloads, fuzz_store


def test_damaged_answers_of_a_store() -> None:
    found = fuzz_store(120, seed=7)
    assert not found.wrong, "\n".join(found.wrong)
    assert min(found.outcomes["ok"], found.outcomes["StorageError"]) >= 10


def test_damaged_downloads() -> None:
    found = fuzz_downloads(40, seed=7)
    assert not found.wrong, "\n".join(found.wrong)
    # Both come; one connection more or less, and all later answers are others.
    assert min(found.outcomes["ok"], found.outcomes["DownloadError"]) >= 10
