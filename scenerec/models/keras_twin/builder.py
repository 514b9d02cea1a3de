"""Walks the torch.fx graph of a network and builds its Keras twin."""

import functools
import sys
from collections.abc import Mapping
from typing import Any

if "tensorflow" in sys.modules and "torchvision" not in sys.modules:
    raise ImportError("import torchvision before tensorflow: the other order aborts the process (both register LLVM)")

import torchvision  # noqa: F401, I001  (before Keras, which imports tensorflow)

import keras
import torch
from torch import fx, nn
from typing_extensions import override

from scenerec.models.keras_twin import attention, coordinates, functions, layers, modules  # noqa: F401  (fill tables)
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import FUNCTIONS, METHODS, MODULES, Converter
from scenerec.models.geo import COORDINATES, KNOWN
from scenerec.models.keras_twin.layout import BATCH, Value, image_value, natural, parameter_value


def twin(network: nn.Module, image_size: int, name: str, shared: keras.Model | None = None) -> keras.Model:
    """The Keras model of a torch classifier, its weights not loaded.

    Its layers are called as the torch modules, so `scenerec.models.keras_twin.bindings` ties the weights by name.
    It is an ordinary functional model: it trains, runs under mixed precision and strategies, and saves as
    `.keras`.

    Args:
        network: takes float32 images [batch, 3, image_size, image_size], and coordinates and known where it reads them
            (`scenerec.models.torch_geo`); returns logits [batch, classes].
        image_size: height and width in pixels.
        name: the model's name.
        shared: a twin of the same network for another image size, whose layers with weights it takes.

    Returns:
        float32 images [batch, image_size, image_size, 3], or a list of them, coordinates [batch, 3] and known
        [batch, 2] -> float32 logits [batch, classes]; all in float64 where that is Keras's dtype policy.

    Raises:
        UnsupportedOperationError: an operation of the network has no converter, or a layer with weights is another one
            in `shared`.
    """
    image = keras.Input((image_size, image_size, 3), name="image", dtype=_weights_dtype())
    builder = _Builder(network, image, {layer.name: layer for layer in shared.layers} if shared else {})
    others = [
        keras.Input((columns,), name=name, dtype=_weights_dtype())
        for name, columns in ((COORDINATES, 3), (KNOWN, 2))
        if name in builder.inputs
    ]
    logits = builder.run(image_value(image), *(Value(each, (BATCH, each.shape[1]), (0, 1)) for each in others))
    return keras.Model([image, *others] if others else image, logits, name=name)


class _Tracer(fx.Tracer):
    """A tracer that enters no module that has a converter, nor one of torch.nn's own."""

    @override
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in MODULES or super().is_leaf_module(m, module_qualified_name)


class _Builder(fx.Interpreter):
    """Runs the graph on `Value`s: every operation is looked up among the converters, and makes Keras layers."""

    def __init__(self, network: nn.Module, image: keras.KerasTensor, shared: Mapping[str, keras.layers.Layer]) -> None:
        super().__init__(fx.GraphModule(network, _trace(network)))
        self.extra_traceback = False
        self.inputs = [node.target for node in self.graph.nodes if node.op == "placeholder"]
        self._network = network
        weighted = (
            path for path, module in network.named_modules() if next(module.parameters(False), None) is not None
        )
        self._ctx = Context(image, weighted, shared)

    @override
    def run_node(self, n: fx.Node) -> Any:
        """Tells the converters where they are, then converts."""
        path = _module_path(n)
        module = self._network.get_submodule(path)
        if n.op == "call_module":
            self._ctx.enter_module(path, module)
        else:
            self._ctx.enter_operation(path, module, getattr(n.target, "__name__", str(n.target)))
        return super().run_node(n)

    @override
    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Converts a leaf module."""
        converter = self._converter(MODULES, type(self._ctx.module), "module")
        return converter(self._ctx, self._ctx.module, *args, **kwargs)

    @override
    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Converts a function of tensors; one of sizes is just called."""
        if not _has_value((args, kwargs)):
            return super().call_function(target, args, kwargs)
        return self._converter(FUNCTIONS, target, "function")(self._ctx, *args, **kwargs)

    @override
    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Converts a method of a tensor."""
        return self._converter(METHODS, target, "method")(self._ctx, *args, **kwargs)

    @override
    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        """Converts a parameter that the network uses without a module of its own."""
        parameter = functools.reduce(getattr, target.split("."), self._network)
        if not isinstance(parameter, nn.Parameter):
            raise self._ctx.unsupported(f"the constant {target}")
        layer = self._ctx.weighted(layers.Parameter, target, shape=tuple(parameter.shape))
        return parameter_value(layer(self._ctx.image))

    @override
    def output(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> keras.KerasTensor:
        """Returns the logits, in the weights' precision under mixed precision too."""
        logits = natural(self._ctx, args[0])
        return keras.layers.Activation("linear", dtype=_weights_dtype(), name="logits")(logits.tensor)

    def _converter(self, table: dict[Any, Converter], key: Any, kind: str) -> Converter:
        if key not in table:
            name = getattr(key, "__name__", str(key))
            raise self._ctx.unsupported(
                f"the {kind} {name}", f"; to add it, register a converter with @converts_{kind} in {__package__}"
            )
        return table[key]


def _weights_dtype() -> str:
    """float32 under mixed precision."""
    return str(keras.config.dtype_policy().variable_dtype)


def _trace(network: nn.Module) -> fx.Graph:
    """The graph in evaluation mode, which has no auxiliary heads; the network's mode is left as it was."""
    modes = {module: module.training for module in network.modules()}
    try:
        return _Tracer().trace(network.eval())
    finally:
        for module, mode in modes.items():
            module.training = mode


def _module_path(node: fx.Node) -> str:
    """Path of the innermost module whose forward the node stands in, or which it calls."""
    stack = node.meta.get("nn_module_stack")
    return next(reversed(stack.values()))[0] if stack else ""


def _has_value(arguments: Any) -> bool:
    return any(isinstance(leaf, Value) for leaf in torch.utils._pytree.tree_leaves(arguments))
