"""What a converter works with: where it is in the network, and the making and naming of Keras layers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
from torch import nn

from scenerec.errors import ModelError
from scenerec.models.keras_twin.tensor_layers import Constant, pack


class UnsupportedOperationError(ModelError):
    """An operation, or an option of one, that has no converter to Keras."""


class Context:
    """One node of the traced graph while it is converted.

    Layers with weights are named by their module's path, which ties them to torch's names; the others by
    where they stand: "layer1.0.relu", "layer1.0.add", "layer1.0.conv1.pad", and "layer1.0.relu_1" for a
    second use.

    Attributes:
        image: the model's input.
        path: path of the module that the node calls, or in whose forward it stands ("" for the network
            itself).
        module: that module.
        operation: name of what the node does.
    """

    def __init__(
        self,
        image: keras.KerasTensor,
        weighted_paths: Iterable[str],
        shared: Mapping[str, keras.layers.Layer] = MappingProxyType({}),
    ) -> None:
        """Takes the layers with weights from `shared`, by name, where they are there; else it makes them."""
        self.image = image
        self.path = ""
        self.module: nn.Module = nn.Identity()
        self.operation = ""
        self._stem = ""
        self._taken_names = set(weighted_paths)
        self._weighted_layers: dict[str, keras.layers.Layer] = {}
        self._constants: dict[tuple[tuple[int, ...], str], keras.KerasTensor] = {}
        self._shared = shared

    def enter_module(self, path: str, module: nn.Module) -> None:
        """Go on to a node that calls a module."""
        self.path, self.module, self.operation, self._stem = path, module, type(module).__name__, path

    def enter_operation(self, path: str, module: nn.Module, operation: str) -> None:
        """Go on to a node that does something else, in the forward of the module at `path`."""
        self.path, self.module, self.operation = path, module, operation
        self._stem = f"{path}.{operation.strip('_')}" if path else operation.strip("_")

    def apply(
        self, layer: Callable[..., keras.layers.Layer], *inputs: keras.KerasTensor, part: str = "", **config: Any
    ) -> Any:
        """Call a new layer without weights; `part` names one that only prepares or finishes the work.

        It computes in float32 where an input is, as what `widen` gives and what is made of it.
        """
        if any(map(self._is_wide, keras.tree.flatten(inputs))):
            config = {"dtype": "float32", **config}
        return layer(name=self._unique(f"{self._stem}.{part}" if part else self._stem), **config)(*inputs)

    def widen(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The tensor in float32 where the policy computes in 16 bits; so do, from there on, layers without weights.

        Torch code asks for it where a sum may exceed 65,504, the end of float16.
        """
        return self._cast(tensor, "float32") if _computes_in_16_bits() else tensor

    def narrow(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The tensor in the policy's compute dtype, where it is in float32 by `widen`."""
        return self._cast(tensor, keras.config.dtype_policy().compute_dtype) if self._is_wide(tensor) else tensor

    def weighted(self, layer: Callable[..., keras.layers.Layer], path: str | None = None, **config: Any) -> Any:
        """The layer with weights of the module at `path`, by default the node's; made on the first call."""
        path = self.path if path is None else path
        if path not in self._weighted_layers:
            self._weighted_layers[path] = self._shared_or(layer(name=path, **config), list(config))
        return self._weighted_layers[path]

    def constant(self, array: np.ndarray) -> keras.KerasTensor:
        """Numbers that are no weights; the same ones are the same layer."""
        values = pack(array)
        key = (array.shape, values)
        if key not in self._constants:
            self._constants[key] = self.apply(Constant, self.image, part="constant", shape=array.shape, values=values)
        return self._constants[key]

    def _is_wide(self, tensor: keras.KerasTensor) -> bool:
        return _computes_in_16_bits() and tensor.dtype == "float32" and tensor is not self.image

    def _cast(self, tensor: keras.KerasTensor, dtype: str) -> keras.KerasTensor:
        return keras.layers.Activation("linear", name=self._unique(self._stem), dtype=dtype)(tensor)

    def _shared_or(self, made: keras.layers.Layer, settings: Sequence[str]) -> keras.layers.Layer:
        """The shared layer of the name, where there is one: it must be as the one `made`, in all of its settings."""
        shared = self._shared.get(made.name)
        if shared is None:
            return made
        ours, theirs = ([each.get_config().get(setting) for setting in settings] for each in (made, shared))
        if type(shared) is not type(made) or ours != theirs:
            raise self.unsupported("one set of weights at two image sizes", "; leave data.train_size out")
        return shared

    def unsupported(self, what: str, remedy: str = "") -> UnsupportedOperationError:
        """The error that says that this node needs `what`, which the converter has not."""
        where = f"{self.path} ({type(self.module).__name__})" if self.path else type(self.module).__name__
        return UnsupportedOperationError(f"no Keras equivalent for {what}, used by {where}{remedy}")

    def _unique(self, stem: str) -> str:
        name, count = stem, 0
        while name in self._taken_names:
            count += 1
            name = f"{stem}_{count}"
        self._taken_names.add(name)
        return name


def _computes_in_16_bits() -> bool:
    return keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
