"""PyTorch: builds a classifier, and takes its weights to and from the neutral state. Mirrors tf_model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision import models as torchvision_models

from scenerec.models import neutral, zoo
from scenerec.models.geo import GeoSpec
from scenerec.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from scenerec.models.torch_drop_path import set_drop_path
from scenerec.models.torch_geo import add_coordinates
from scenerec.models.zoo import TIMM, Architecture

# Without auxiliary heads, which serve training from scratch alone and which the Keras twin has not either.
_INCEPTION: dict[str, Any] = {"aux_logits": False, "init_weights": True, "transform_input": True}
_OPTIONS = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def build(arch: str, classes: int, seed: int, geo: GeoSpec | None = None, drop_path: float | None = None) -> nn.Module:
    """A classifier with torchvision's or timm's own initial weights, drawn from `seed`; no global generator is touched.

    All take images normalised by ImageNet's mean and standard deviation. Those whose published weights expect
    another normalisation (GoogLeNet, Inception v3, EfficientNetV2-L: mean and deviation 0.5) convert it themselves.
    With `geo` it reads coordinates as well; the image network begins with the weights that it has without. With
    `drop_path` its last block has this rate of stochastic depth, in place of the architecture's own.

    Returns:
        A module in training mode on the CPU: float32 images [batch, 3, height, width], with `geo` also coordinates
        [batch, 3] and known [batch, 2] (see `scenerec.models.geo`) -> logits [batch, classes].

    Raises:
        ModelError: `arch` is not in the zoo, or has no stochastic depth.
    """
    entry = zoo.architecture(arch)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        network = _of_timm(entry, classes) if arch.startswith(TIMM) else _of_torchvision(arch, classes)
        if geo is not None:
            add_coordinates(network, entry.head, geo, classes)
    if drop_path is not None:
        set_drop_path(network, drop_path)
    if arch == "efficientnet_v2_l":
        network.features.register_forward_pre_hook(_renormalise)
    return network


def _of_torchvision(arch: str, classes: int) -> nn.Module:
    network: nn.Module = torchvision_models.get_model(arch, weights=None, num_classes=classes, **_OPTIONS.get(arch, {}))
    return network


def _of_timm(entry: Architecture, classes: int) -> nn.Module:
    """What embeds positions interpolates them to the images' size, where the architecture takes more than one."""
    import timm  # takes seconds

    options: dict[str, Any] = {"dynamic_img_size": True} if entry.image_size_step > 1 else {}
    network: nn.Module = timm.create_model(entry.name.removeprefix(TIMM), num_classes=classes, **options)
    name_dropout(network)
    return network


def name_dropout(network: nn.Module) -> None:
    """Gives the dropout of timm's GhostNet and RepGhost, which is a function there, a layer that can draw by sample."""
    if type(network).__name__ in ("GhostNet", "RepGhostNet"):
        network.flatten = nn.Sequential(network.flatten, nn.Dropout(network.drop_rate))
        network.drop_rate = 0.0


def state(model: nn.Module) -> neutral.State:
    """A copy of the model's weights as the neutral state (see `scenerec.models.neutral`)."""
    return {key: tensor.float().cpu().numpy().copy() for key, tensor in _floating(model).items()}


def load_state(model: nn.Module, state: Mapping[str, np.ndarray]) -> None:
    """Overwrite the model's weights, in place, on whatever device they are.

    Raises:
        StateError: keys or shapes differ from the model's.
    """
    tensors = _floating(model)
    neutral.check_fits({key: tensor.shape for key, tensor in tensors.items()}, state, type(model).__name__)
    for key, tensor in tensors.items():
        tensor.copy_(torch.from_numpy(np.array(state[key])))


def _renormalise(_: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """From ImageNet's mean and standard deviation to 0.5, channel by channel, as Inception's `transform_input`."""
    (images,) = inputs
    channels = [
        torch.unsqueeze(images[:, index], 1) * (std / 0.5) + (mean - 0.5) / 0.5
        for index, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
    ]
    return torch.cat(channels, 1)


def _floating(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's own floating-point tensors by name, detached."""
    return {key: tensor for key, tensor in model.state_dict().items() if tensor.is_floating_point()}
