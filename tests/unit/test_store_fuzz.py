"""Damaged answers of stores and web servers: one line, never a traceback. `make fuzz` tries more of the same."""

from tests.store_fuzz import fuzz_downloads, fuzz_store


def test_damaged_answers_of_a_store() -> None:
    found = fuzz_store(300, seed=7)
    assert not found.wrong, "\n".join(found.wrong)
    assert found.outcomes["ok"] > 50
    assert found.outcomes["StorageError"] > 50


def test_damaged_downloads() -> None:
    found = fuzz_downloads(100, seed=7)
    assert not found.wrong, "\n".join(found.wrong)
    assert found.outcomes["ok"] > 20
    assert found.outcomes["DownloadError"] > 20
