"""Imports of large libraries, in half of their time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"


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
    """Stands in for a module, which is loaded when that function is called that is there, or another name is wanted."""

    def is_compile_supported(self, device: object) -> bool:
        return self._load().is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python asks for a package's path
            raise AttributeError(name)
        return getattr(self._load(), name)

    def _load(self) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)
