from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision  # noqa: F401  (before tensorflow)
from torch import nn

import keras  # isort: skip

from scenerec.models import keras_bindings, keras_twin, torch_model

Pair = tuple[nn.Module, keras.Model]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def make_pair(rng: np.random.Generator) -> Callable[..., Pair]:
    """arch -> (torch network, its twin): equal weights, non-trivial BatchNorm statistics, no dropout."""

    def make(arch: str, image_size: int = 64, classes: int = 5) -> Pair:
        network = torch_model.build(arch, classes, seed=1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.from_numpy(rng.normal(0.0, 0.1, module.running_mean.shape)))
                module.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, module.running_var.shape)))
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        twin = keras_twin.twin(network, image_size, name=arch)
        keras_bindings.load_state(twin, torch_model.state(network))
        return network, twin

    return make
