import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

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


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package in place of torch's compiler; it says when it is loaded."""
    (tmp_path / "costly").mkdir()
    (tmp_path / "costly" / "__init__.py").write_text("from .utils import mode")
    (tmp_path / "costly" / "utils.py").write_text("mode = 'eager'\ndef is_compile_supported(device): return device")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("costly", "costly.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # put back when the test is over
        del sys.modules[name]
    monkeypatch.setattr("scenerec.large_imports._COMPILER", "costly.utils")
    return "costly.utils"


def test_the_compiler_is_loaded_when_its_function_is_called(compiler: str) -> None:
    with large_imports():
        from costly.utils import is_compile_supported  # type: ignore[import-not-found]
    assert compiler not in sys.modules and "costly" not in sys.modules
    assert is_compile_supported("cpu") == "cpu"
    assert sys.modules[compiler].mode == "eager"


def test_the_compiler_is_loaded_when_more_of_it_is_wanted_meanwhile(compiler: str) -> None:
    with large_imports():
        import costly  # type: ignore[import-not-found]

        assert costly.mode == "eager"
        assert sys.modules[compiler] is costly.utils
    with large_imports():
        assert sys.modules[compiler] is costly.utils
    assert sys.modules[compiler] is costly.utils
