"""A torch classifier's names and shapes, without the time and the memory of its weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from scenerec.models import torch_model
from scenerec.models.geo import GeoSpec


def parameter_shapes(arch: str, classes: int, geo: GeoSpec | None = None) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter by name, in the order of what `torch_model.build(arch, classes, ..., geo)` makes.

    Raises:
        ModelError: `arch` is not in the zoo.
    """
    with _WithoutStorage():
        network = torch_model.build(arch, classes, 0, geo)
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def state_shapes(arch: str, classes: int, geo: GeoSpec | None = None) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by key of the neutral state of what `parameter_shapes` outlines: with buffers.

    Raises:
        ModelError: `arch` is not in the zoo.
    """
    with _WithoutStorage():
        network = torch_model.build(arch, classes, 0, geo)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items() if tensor.is_floating_point()}


class _WithoutStorage(TorchFunctionMode):
    """Layers take their weights from `torch.empty`, which here gives no memory (device "meta").

    With `torch.device("meta")` the arithmetic by which a RegNet finds its widths had no values either.
    """

    @override
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = {"device": "meta"} if function is torch.empty else {}
        return function(*args, **{**(kwargs or {}), **options})
