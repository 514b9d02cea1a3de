"""Imports of large libraries, in half of their time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import Any

_COMPILER, _FUNCTION = "torch._dynamo.utils", "is_compile_supported"


@contextmanager
def large_imports() -> Iterator[None]:
    """Holds back, while the imports inside are made, the garbage collector and torch's compiler.

    Imports make hundreds of thousands of objects that stay, and the collector would look through all of them again and
    again: of three seconds for torch and torchvision it takes one. The compiler takes another second, and torchvision
    imports it for regions of interest alone; it is loaded when somebody asks for it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    put_off = sys.modules.setdefault(_COMPILER, _PutOff(_COMPILER))
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is put_off and isinstance(put_off, _PutOff):
            del sys.modules[_COMPILER]
        if was_enabled:
            gc.enable()


class _PutOff(ModuleType):
    """Stands in for a module, which is loaded when its function is called, or another name of it is wanted."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python asks for a package's path
            raise AttributeError(name)
        if name != _FUNCTION:
            return getattr(self._load(), name)
        with suppress(ImportError):
            import_module("triton")  # as the compiler does: its LLVM aborts the process where TensorFlow's came first
        return lambda device: getattr(self._load(), name)(device)

    def _load(self) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)
