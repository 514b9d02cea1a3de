"""PyTorch: a backbone of the zoo with heads in the place of its classifier. Mirrors tf_encoder."""

import torch
from torch import nn
from typing_extensions import override

from scenerec.models import torch_model, zoo
from scenerec.models.heads import BATCHNORM_EPSILON, BATCHNORM_MOMENTUM, BatchNorm, Head, Heads, Linear, first_weights


def build(arch: str, heads: Heads, seed: int) -> nn.Module:
    """A backbone with torchvision's own initial weights, and heads with those of `first_weights`, both from `seed`.

    Its neutral state has the backbone under the names that it has in a classifier, and `projector.0.weight`.

    Returns:
        A module in training mode on the CPU, called by `embed`: float32 images [batch, 3, height, width] -> features.

    Raises:
        ModelError: `arch` is not in the zoo.
    """
    network = torch_model.build(arch, 1, seed)
    path = zoo.architecture(arch).head
    features = _feature_count(network.get_submodule(path))
    network.set_submodule(path, nn.Identity())
    made = heads(features)
    for name, head in made.items():
        network.add_module(name, _sequence(head))
    torch_model.load_state(network, torch_model.state(network) | first_weights(made, seed))
    return network


def embed(network: nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Features [n, f] of normalised images, and what each head makes of what the one before has made."""
    outputs = [network(pixels)]
    for name in ("projector", "predictor"):
        if hasattr(network, name):
            outputs.append(getattr(network, name)(outputs[-1]))
    return outputs


class FeatureNorm(nn.BatchNorm2d):
    """BatchNorm of feature vectors [n, channels]: that of images of one pixel, so that all deal with one kind."""

    @override
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features[:, :, None, None])[:, :, 0, 0]


def _feature_count(classifier: nn.Module) -> int:
    """How many features a classifying layer takes."""
    if isinstance(classifier, nn.Linear):
        return classifier.in_features
    assert isinstance(classifier, nn.Conv2d)  # SqueezeNet's
    return classifier.in_channels


def _sequence(head: Head) -> nn.Sequential:
    return nn.Sequential(*map(_layer, head))


def _layer(layer: object) -> nn.Module:
    match layer:
        case Linear(inputs, outputs, bias):
            return nn.Linear(inputs, outputs, bias)
        case BatchNorm(channels, affine):
            return FeatureNorm(channels, BATCHNORM_EPSILON, BATCHNORM_MOMENTUM, affine)
        case _:
            return nn.ReLU()
