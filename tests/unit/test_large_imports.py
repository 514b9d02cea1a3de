import gc
from collections.abc import Iterator

import pytest

from scenerec.large_imports import large_imports


@pytest.fixture(autouse=True)
def _enabled_again() -> Iterator[None]:
    yield
    gc.enable()


def test_the_collector_is_held_back_and_back_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), large_imports():
        assert not gc.isenabled()
        import nothing_of_this_name  # noqa: F401
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_so() -> None:
    gc.disable()
    with large_imports(), large_imports():
        pass
    assert not gc.isenabled()
