"""Blocks of a Keras twin that keep nothing but their inputs for the backward pass. Mirrors torch_recompute.

Activation checkpointing (Chen et al. 2016). keras.RematScope repeats layers one by one, each of which would keep its
input; here it is a whole block. In the repetition BatchNorm moves no running statistics, and dropout drops what it has
dropped.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from scenerec.models import tf_model  # noqa: F401  (first: torchvision goes before tensorflow)

import keras  # isort: skip
import tensorflow as tf

from scenerec.errors import ModelError
from scenerec.models.blocks import is_under
from scenerec.models.keras_twin.drop_draws import DROP_KEYS, drop_keys
from scenerec.models.keras_twin.repetition import Computation, computing

_Place = tuple[int, bool]
"""Number of a block, from 1 on, and whether it is what comes after it: (0, True) is what comes before the first."""
_INPUTS: _Place = (0, False)


class Recomputing:
    """A functional model, called as it is, whose blocks compute once more for the backward pass.

    It has no weights of its own, but those of the model. Results and gradients stay the same, to the last bit where
    TensorFlow's graph optimizer finds nothing to simplify in a block whose gradients it does not see: x * (c * y).

    Args:
        model: its layers are named by their paths in torch.
        paths: of its blocks.

    Raises:
        ModelError: a block takes what is made of what it gives.
    """

    def __init__(self, model: keras.Model, paths: Collection[str]) -> None:
        self.model = model
        self._parts = _divided(model, paths)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs: Any, training: bool = False) -> Any:
        """What the model gives."""
        if not training:
            return self.model(inputs, training=False)
        values = dict(zip(map(id, self.model.inputs), keras.tree.flatten(inputs), strict=True))
        for part in self._parts:
            given = [values[id(tensor)] for tensor in part.inputs]
            values.update(zip(map(id, part.outputs), part.compute(given), strict=True))
        return keras.tree.map_structure(lambda tensor: values[id(tensor)], self.model.output)


class _Part:
    """Layers of a model that are computed together: a block, or what lies between two of them."""

    def __init__(self, inputs: list[keras.KerasTensor], outputs: list[keras.KerasTensor], is_block: bool) -> None:
        self.inputs, self.outputs, self.is_block = inputs, outputs, is_block
        self._model = keras.Model(inputs, outputs)

    def compute(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        """The outputs in training."""
        if not self.is_block:
            return tf.nest.flatten(self._model(inputs, training=True))  # of a single one it makes no list
        keys, computation = DROP_KEYS.get(), Computation()

        def compute(*inputs: tf.Tensor) -> list[tf.Tensor]:
            with drop_keys(keys), computing(computation):
                outputs = self._model(list(inputs), training=True)
            computation.repeats = True
            return outputs

        return tf.nest.flatten(tf.recompute_grad(compute)(*inputs))


def _divided(model: keras.Model, paths: Collection[str]) -> list[_Part]:
    """The parts of a model, in the order in which they are computed."""
    numbers: dict[str, int] = {}
    nodes: dict[_Place, list[Any]] = {}
    made_at: dict[int, _Place] = {id(tensor): _INPUTS for tensor in model.inputs}
    for node, path in _with_blocks(list(_in_order(model)), paths):
        newest = max(made_at[id(tensor)] for tensor in node.input_tensors)
        place = (newest[0], True)
        if path and newest > _INPUTS:  # weights and constants, which take the images for form's sake, go before all
            place = (numbers.setdefault(path, len(numbers) + 1), False)
            if newest > place:
                raise ModelError(
                    f"compute.recompute_activations: {path} takes what is made after it: leave it out, or take torch"
                )
        nodes.setdefault(place, []).append(node)
        made_at |= dict.fromkeys(map(id, node.outputs), place)
    taken_by: dict[int, set[_Place]] = {id(tensor): {_INPUTS} for tensor in model.outputs}
    for place, members in nodes.items():
        for tensor in (tensor for node in members for tensor in node.input_tensors):
            taken_by.setdefault(id(tensor), set()).add(place)
    parts = []
    for place in sorted(nodes):
        taken = {id(tensor): tensor for node in nodes[place] for tensor in node.input_tensors}
        made = [tensor for node in nodes[place] for tensor in node.outputs]
        inputs = [tensor for key, tensor in taken.items() if made_at[key] != place]
        outputs = [tensor for tensor in made if taken_by.get(id(tensor), {place}) != {place}]
        parts.append(_Part(inputs, outputs, is_block=not place[1]))
    return parts


def _in_order(model: keras.Model) -> Iterator[Any]:
    """The nodes of a model in the order in which Keras computes them: the calls of its layers."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


def _with_blocks(nodes: Sequence[Any], paths: Collection[str]) -> Iterator[tuple[Any, str]]:
    """Each node with the path of the block that it is in; empty where it is in none.

    Plain operations (a mean, a sum) have no path in their names. They are in a block where they take what it makes, and
    it takes what they make.
    """
    own = [_block_of(node.operation.name, paths) for node in nodes]
    maker = {id(tensor): place for place, node in enumerate(nodes) for tensor in node.outputs}
    takes = [[maker[id(tensor)] for tensor in node.input_tensors if id(tensor) in maker] for node in nodes]
    above: list[set[str]] = []  # blocks of which something goes into a node, or that it is in
    for path, places in zip(own, takes, strict=True):
        above.append({path}.union(*(above[place] for place in places)))
    below = [{path} for path in own]  # blocks into which something of a node goes, or that it is in
    for place in reversed(range(len(nodes))):
        for taken in takes[place]:
            below[taken] |= below[place]
    for node, path, before, after in zip(nodes, own, above, below, strict=True):
        around = (before & after) - {""}
        yield node, path or (around.pop() if len(around) == 1 else "")


def _block_of(name: str, paths: Collection[str]) -> str:
    """The path of the block that a layer is in; empty where it is in none."""
    return next((path for path in paths if is_under(name, path)), "")
