"""A small classifier of images and coordinates, with weights of all sizes."""

import numpy as np
import torch
from torch import nn

from scenerec.models import torch_model
from scenerec.models.geo import GeoSpec
from scenerec.models.torch_geo import add_coordinates

CLASSES, SIZE = 5, 32


class Plain(nn.Module):
    """A classifier with a head, built as many of torchvision's are."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 24, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Sequential(nn.Linear(24, 12), nn.Hardswish(), nn.Linear(12, CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [n, 3, 32, 32] -> logits [n, 5]."""
        return self.classifier(torch.flatten(self.features(images), 1))


def tiny_geo_network(spec: GeoSpec) -> nn.Module:
    """In evaluation mode; the image and the place count about as much."""
    network, rng = Plain(), np.random.default_rng(0)
    add_coordinates(network, "classifier.2", spec, CLASSES)
    shapes = {key: array.shape for key, array in torch_model.state(network).items()}
    torch_model.load_state(network, {key: rng.normal(0, 0.3, shape).astype("float32") for key, shape in shapes.items()})
    return network.eval()


def draw_places(rng: np.random.Generator, count: int) -> np.ndarray:
    """float32 [n, 3] as batches have them: of the last nothing is known, of the one before no time."""
    places = rng.uniform((-90, -180, 0), (90, 180, 1), (count, 3)).astype(np.float32)
    places[-1], places[-2, 2] = np.nan, np.nan
    return places
