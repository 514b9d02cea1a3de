"""The dispatch tables: from a torch module, function or tensor method to the function that converts it.

A converter takes the `Context` of the node and then what the torch operation takes, with a `Value` for each
tensor (a module's converter takes the module first), and returns what the operation returns.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

Converter = Callable[..., Any]
_C = TypeVar("_C", bound=Converter)

MODULES: dict[type[nn.Module], Converter] = {}
FUNCTIONS: dict[Callable[..., Any], Converter] = {}
METHODS: dict[str, Converter] = {}


def converts_module(*types: type[nn.Module]) -> Callable[[_C], _C]:
    """Register `converter(ctx, module, *args)` for modules of just these types; they are not traced into."""
    return _register(MODULES, types)


def converts_function(*functions: Callable[..., Any]) -> Callable[[_C], _C]:
    """Register `converter(ctx, *args)` for calls of these functions."""
    return _register(FUNCTIONS, functions)


def converts_method(*names: str) -> Callable[[_C], _C]:
    """Register `converter(ctx, tensor, *args)` for tensor methods of these names."""
    return _register(METHODS, names)


def _register(table: dict[Any, Converter], keys: tuple[Any, ...]) -> Callable[[_C], _C]:
    def decorate(converter: _C) -> _C:
        table.update(dict.fromkeys(keys, converter))
        return converter

    return decorate
