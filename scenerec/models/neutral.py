"""The neutral state: a network's weights in the form that both frameworks read and write.

It maps torch's `state_dict` names to float32 arrays in torch's layouts (a convolution's kernel is [out, in /
groups, height, width], a linear layer's [out, in]): all parameters and floating-point buffers. Integer
buffers, which are counters (`num_batches_tracked`) or constants of the architecture, are left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from scenerec.errors import ModelError
from scenerec.names import few

State = dict[str, np.ndarray]

_LONGEST_SHOWN = 80  # characters of a key


class StateError(ModelError):
    """A state that does not fit the model it is loaded into."""


def check_fits(expected: Mapping[str, Sequence[int]], state: Mapping[str, np.ndarray], model: str) -> None:
    """Refuse a `state` whose keys or shapes are not exactly the `expected` ones (key -> shape) of `model`.

    Raises:
        StateError: one line that lists missing, unexpected and mis-shaped keys.
    """
    missing = [key for key in expected if key not in state]
    unexpected = [shown_key(key) for key in state if key not in expected]
    misshaped = [
        f"{key} {list(np.shape(state[key]))} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in state and tuple(np.shape(state[key])) != tuple(shape)
    ]
    problems = [
        f"{kind} {few(keys)}"
        for kind, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped))
        if keys
    ]
    if problems:
        raise StateError(f"the weights do not fit {model}: {'; '.join(problems)}")


def shown_key(key: object) -> str:
    """A key for a message: in one line, cut where it is long."""
    text = str(key).encode("unicode_escape").decode() or "''"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
