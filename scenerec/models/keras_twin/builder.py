"""Walks a network by torch.fx and builds its Keras twin."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

if "tensorflow" in sys.modules and "torchvision" not in sys.modules:
    raise ImportError("import torchvision before tensorflow: the other order aborts the process (both register LLVM)")

import torchvision  # noqa: F401, I001  (before Keras, which imports tensorflow)

import keras
import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from scenerec.models.keras_twin import arithmetic, attention, coordinates, functions, indexing, modules  # noqa: F401
from scenerec.models.keras_twin import layers, normalisation, products, windows  # noqa: F401
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import FUNCTIONS, METHODS, MODULES, Converter
from scenerec.models.geo import COORDINATES, KNOWN
from scenerec.models.keras_twin.layout import BATCH, Value, constant, image_value, natural, parameter_value


_NOT_OF_THE_RESULT = ("out", "_stacklevel")
"""Arguments of torch's functions that say where the result goes, and whence a warning comes."""
_NORMALISATIONS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


def twin(network: nn.Module, image_size: int, name: str, shared: keras.Model | None = None) -> keras.Model:
    """The Keras model of a torch classifier, its weights not loaded.

    Its layers are called as the torch modules, so `scenerec.models.keras_twin.bindings` ties the weights by name.
    It is an ordinary functional model: it trains, runs under mixed precision and strategies, and saves as
    `.keras`.

    Args:
        network: takes float32 images [batch, 3, image_size, image_size], and coordinates and known where it reads them
            (`scenerec.models.torch_geo`); returns logits [batch, classes].
        image_size: height and width in pixels.
        name: the model's name; Keras allows no slash, and has a dot there.
        shared: a twin of the same network for another image size, whose layers with weights it takes.

    Returns:
        float32 images [batch, image_size, image_size, 3], or a list of them, coordinates [batch, 3] and known
        [batch, 2] -> float32 logits [batch, classes]; all in float64 where that is Keras's dtype policy.

    Raises:
        UnsupportedOperationError: an operation of the network has no converter, or a layer with weights is another one
            in `shared`.
    """
    if any(type(module).__module__.startswith("timm.") for module in network.modules()):
        import scenerec.models.keras_twin.timm_modules  # noqa: F401  (timm takes seconds to import)
    image = keras.Input((image_size, image_size, 3), name="image", dtype=_weights_dtype())
    inputs = {
        COORDINATES: keras.Input((3,), name=COORDINATES, dtype=_weights_dtype()),
        KNOWN: keras.Input((2,), name=KNOWN, dtype=_weights_dtype()),
    }
    builder = _Builder(network, image, inputs, {layer.name: layer for layer in shared.layers} if shared else {})
    logits = builder.build()
    others = [inputs[name] for name in builder.taken]
    return keras.Model([image, *others] if others else image, logits, name=name.replace("/", "."))


class _Proxy(fx.Proxy):
    """A tensor of the twin in the hands of torch code, which may ask for its shape, and branch on it."""

    @property
    def value(self) -> Value:
        """What it stands for."""
        found: Value = self.node.meta["value"]
        return found

    @property
    def shape(self) -> torch.Size:
        """The shape as torch has it, -1 for the batch."""
        return torch.Size(self.value.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.value.rank

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's weights."""
        return torch.float32

    @property
    def device(self) -> torch.device:
        """Of the network's weights."""
        return torch.device("cpu")

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of an axis."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of axes."""
        return self.value.rank


class _Builder(fx.Tracer):
    """Converts each operation as it is traced, so that shapes are numbers, on which torch code can branch."""

    def __init__(
        self,
        network: nn.Module,
        image: keras.KerasTensor,
        others: dict[str, keras.KerasTensor],
        shared: Mapping[str, keras.layers.Layer],
    ) -> None:
        # Functions of torch are found by their own mechanism; those of a library are wrapped where they are called.
        own = (function for function in FUNCTIONS if (getattr(function, "__module__", "") or "").startswith("timm."))
        super().__init__(autowrap_functions=tuple(own))
        weighted = (
            path for path, module in network.named_modules() if next(module.parameters(False), None) is not None
        )
        self.taken: list[str] = []
        self._network, self._others = network, others
        self._ctx = Context(image, weighted, shared)
        self._converting = False

    def build(self) -> keras.KerasTensor:
        """The logits, by the network in evaluation mode, which has no auxiliary heads; its mode is left as it was."""
        modes = {module: module.training for module in self._network.modules()}
        try:
            # Into training first, where some of timm's modules forget the biases that they keep for evaluation.
            graph = self.trace(self._network.train().eval())
        finally:
            self._network.train()
            for module, mode in modes.items():
                module.training = mode
        return next(node for node in graph.nodes if node.op == "output").meta["value"]

    @override
    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """What has a default keeps it: those are the inputs that must be given."""
        parameters = list(inspect.signature(root_fn).parameters.values())[1:]
        names = [each.name for each in parameters if each.default is each.empty]
        return root_fn, [self.root, *(self.create_proxy("placeholder", name, (), {}) for name in names)]

    @override
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Enters no module that has a converter, nor one of torch.nn's own."""
        return type(m) in MODULES or super().is_leaf_module(m, module_qualified_name)

    @override
    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """A converter sees the weights themselves, and the network stand-ins for them."""
        if self._converting or self._normalises():
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    @override
    def create_arg(self, a: Any) -> Any:
        """Tensors that are no weights are constants, and need no name."""
        if isinstance(a, torch.Tensor) and (not isinstance(a, nn.Parameter) or self._normalises()):
            if a.requires_grad and not isinstance(a, nn.Parameter):
                raise self._ctx.unsupported("what is made of weights apart")
            return a
        return super().create_arg(a)

    def _normalises(self) -> bool:
        """Whether this is the forward of a layer whose converter takes its weights from the layer itself."""
        return bool(self.module_stack) and issubclass(next(reversed(self.module_stack.values()))[1], _NORMALISATIONS)

    @override
    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> fx.Node:
        """Notes an operation, and converts it."""
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        path = next(reversed(self.module_stack.values()))[0] if self.module_stack else ""
        converting, self._converting = self._converting, True
        try:
            module = self._network.get_submodule(path)
            if kind == "call_module":
                self._ctx.enter_module(path, module)
            else:
                self._ctx.enter_operation(path, module, getattr(target, "__name__", str(target)))
            values = fx.node.map_arg((args, kwargs), lambda argument: argument.meta["value"])
            node.meta["value"] = self._convert(kind, target, *values)
        finally:
            self._converting = converting
        return node

    @override
    def proxy(self, node: fx.Node) -> Any:
        """What the network gets: a stand-in for a Value, several for a tuple of them; anything else as it is."""
        value = node.meta["value"]
        if isinstance(value, Value):
            return _Proxy(node, self)
        if isinstance(value, (tuple, list)) and any(isinstance(leaf, Value) for leaf in tree_leaves(value)):
            return tuple(
                self.create_proxy("call_function", _element, (_Proxy(node, self), i), {}) for i in range(len(value))
            )
        return value

    def _convert(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        match kind:
            case "placeholder":
                return self._input(target)
            case "get_attr":
                return self._parameter(target)
            case "output":
                logits = natural(self._ctx, args[0])
                if logits.shape[0] != BATCH:
                    raise self._ctx.unsupported(f"an output {logits.shape}, which mixes samples of the batch")
                # in the weights' precision under mixed precision too
                return keras.layers.Activation("linear", dtype=_weights_dtype(), name="logits")(logits.tensor)
            case "call_module":
                converter = self._converter(MODULES, type(self._ctx.module), "module")
                return converter(self._ctx, self._ctx.module, *(constant(self._ctx, each) for each in args), **kwargs)
            case "call_method":
                return self._converter(METHODS, target, "method")(self._ctx, *args, **kwargs)
        if target is _element:
            return args[0][args[1]]
        if not any(isinstance(leaf, Value) for leaf in tree_leaves((args, kwargs))):
            return target(*args, **kwargs)  # of sizes
        given = {name: value for name, value in kwargs.items() if name not in _NOT_OF_THE_RESULT}
        return self._converter(FUNCTIONS, target, "function")(self._ctx, *args, **given)

    def _input(self, name: str) -> Value:
        """The image comes first, whatever torch calls it."""
        if name not in self._others:
            return image_value(self._ctx.image)
        self.taken.append(name)
        tensor = self._others[name]
        return Value(tensor, (BATCH, tensor.shape[1]), (0, 1))

    def _parameter(self, path: str) -> Value:
        """A parameter that the network uses without a module of its own."""
        parameter = functools.reduce(getattr, path.split("."), self._network)
        if not isinstance(parameter, nn.Parameter):
            raise self._ctx.unsupported(f"the constant {path}")
        layer = self._ctx.weighted(layers.Parameter, path, shape=tuple(parameter.shape))
        return parameter_value(layer(self._ctx.image))

    def _converter(self, table: dict[Any, Converter], key: Any, kind: str) -> Converter:
        if key not in table:
            name = getattr(key, "__name__", str(key))
            raise self._ctx.unsupported(
                f"the {kind} {name}", f"; to add it, register a converter with @converts_{kind} in {__package__}"
            )
        return table[key]


def _element(values: Any, index: int) -> Any:
    """One of several results."""
    return values[index]


def _weights_dtype() -> str:
    """float32 under mixed precision."""
    return str(keras.config.dtype_policy().variable_dtype)
