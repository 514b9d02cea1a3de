"""Odd folders, lists and label files: packed or refused in one line. `make fuzz` tries more of the same."""

from tests.folder_fuzz import fuzz_folders, fuzz_labels


def test_odd_folders_are_packed_or_refused_in_one_line() -> None:
    found = fuzz_folders(45, seed=7)
    assert not found.wrong, "\n".join(found.wrong)
    assert set(found.outcomes) <= {"packed", "exit 2", "exit 4"}
    assert min(found.outcomes["packed"], found.outcomes["exit 4"]) > 10


def test_odd_label_files_are_read_or_refused_in_one_line() -> None:
    found = fuzz_labels(300, seed=7)
    assert not found.wrong, "\n".join(found.wrong)
    assert min(found.outcomes["labels"], found.outcomes["ConfigError"]) > 50
