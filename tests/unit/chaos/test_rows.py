import pytest

from tests.bench.record import read_rows
from tests.chaos.rows import DOCUMENT, STRIKES, make_table, put_table

ROWS = [
    {"fault": "cut_cable", "recovery_s": "40.4", "steps_redone": "8", "requests_lost": "0"},
    {"fault": "kill_worker", "recovery_s": "0.0", "steps_redone": "0", "requests_lost": "0"},
    {"fault": "cut_cable", "recovery_s": "90.0", "steps_redone": "2", "requests_lost": "3"},
]


def test_a_fault_has_a_line() -> None:
    assert make_table(ROWS).splitlines()[2:] == [
        "| A worker is killed | 1 | 0 | 0 | 0 | 0 |",
        "| A node's cable is cut | 2 | 65 | 90 | 5 | 3 |",
    ]


def test_a_table_is_put_in_the_place_of_the_old_one() -> None:
    old, new = make_table([]), make_table(ROWS)
    assert put_table(f"# Faults\n\n{old}\nThe end.\n", new) == f"# Faults\n\n{new}\nThe end.\n"
    assert put_table(f"# Faults\n\n{new}", old) == f"# Faults\n\n{old}"
    with pytest.raises(ValueError, match="no table"):
        put_table("# Faults\n", new)


def test_the_documentation_has_what_was_measured() -> None:
    assert make_table(read_rows(STRIKES)) in DOCUMENT.read_text()
