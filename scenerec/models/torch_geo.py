"""The part of a torch classifier that reads coordinates, and how it is set into any classifier of the zoo.

Its residual network is that of Mac Aodha et al. 2019, Presence-Only Geographical Priors for Fine-Grained Image
Classification, section 3.3. The last layer of each fusion starts at 0: a run begins as the image network.
"""

from math import pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from scenerec.models import geo
from scenerec.models.geo import GeoSpec, encoding_tables


class CoordinateEncoding(nn.Module):
    """`scenerec.models.geo.encode` in torch; without weights."""

    columns: torch.Tensor
    masks: torch.Tensor
    frequencies: torch.Tensor

    def __init__(self, spec: GeoSpec) -> None:
        super().__init__()
        self.spec, tables = spec, encoding_tables(spec)
        self.features = tables.features
        for name in ("columns", "masks", "frequencies"):
            self.register_buffer(name, torch.from_numpy(getattr(tables, name)), persistent=False)

    def forward(self, coordinates: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Coordinates [n, 3] and known [n, 2] -> features [n, 2 k]."""
        turns = coordinates.index_select(1, self.columns) * self.frequencies
        angles = (turns - turns.round()) * (2 * pi)
        mask = known.index_select(1, self.masks)
        return torch.cat([angles.sin() * mask, angles.cos() * mask], 1)


class ResidualBlock(nn.Module):
    """x + relu(W2 dropout(relu(W1 x))), [n, width] as the input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, width] -> [n, width]."""
        return x + F.relu(self.second(self.dropout(F.relu(self.first(x)))))


class Fusion(nn.Module):
    """Reads coordinates, and lets them meet what is known of the image; where the place is unknown, nothing changes."""

    def __init__(self, spec: GeoSpec, outputs: int) -> None:
        super().__init__()
        self.encoding = CoordinateEncoding(spec)
        self.input = nn.Linear(self.encoding.features, spec.width)
        self.blocks = nn.Sequential(*(ResidualBlock(spec.width, spec.dropout) for _ in range(spec.blocks)))
        self.output = nn.Linear(spec.width, outputs, bias=False)
        nn.init.zeros_(self.output.weight)

    def place(self, coordinates: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """The features of the place, [n, width]."""
        return self.blocks(F.relu(self.input(self.encoding(coordinates, known))))


class LogitsFusion(Fusion):
    """The image's logits, and a prior over the classes added to them."""

    def forward(self, logits: torch.Tensor, coordinates: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """[n, classes] -> [n, classes]."""
        return logits + _place_known(known) * self.output(self.place(coordinates, known))


class ConcatFusion(Fusion):
    """A layer over image features and place features side by side, whose result is added to the image features.

    In a linear head alone concatenation would be the same as adding logits. The layer's weights are in two parts, as
    those of the features: what the products of both add up to is the product of the features joined.
    """

    def __init__(self, spec: GeoSpec, features: int) -> None:
        super().__init__(spec, features)
        # The bias is the place's: TensorFlow's grappler fails at a sum with a product that has one, before a ReLU.
        self.of_image = nn.Linear(features, spec.width, bias=False)
        self.of_place = nn.Linear(spec.width, spec.width)

    def forward(self, image: torch.Tensor, coordinates: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """[n, features] -> [n, features]."""
        gate = _place_known(known)
        joined = F.relu(self.of_image(image) + gate * self.of_place(self.place(coordinates, known)))
        return image + gate * self.output(joined)


class ModulateFusion(Fusion):
    """Feature-wise linear modulation of the image features (FiLM, Perez et al. 2018; Chu et al. 2019)."""

    def __init__(self, spec: GeoSpec, features: int) -> None:
        super().__init__(spec, 2 * features)

    def forward(self, image: torch.Tensor, coordinates: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """[n, features] -> [n, features]."""
        scale, shift = (_place_known(known) * self.output(self.place(coordinates, known))).chunk(2, dim=1)
        return image + image * scale + shift


def _place_known(known: torch.Tensor) -> torch.Tensor:
    return known[:, 0].unsqueeze(1)


class _BeforeHead(nn.Linear):
    """A head that lets features through; `classify` is what it did before."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features)


class _WithLogits(nn.Module):
    geo: nn.Module

    def forward(self, images: torch.Tensor, coordinates: torch.Tensor, known: torch.Tensor) -> Any:
        return self.geo(super().forward(images), coordinates, known)


class _WithFeatures(nn.Module):
    geo: nn.Module
    head_path: str

    def forward(self, images: torch.Tensor, coordinates: torch.Tensor, known: torch.Tensor) -> Any:
        features = self.geo(super().forward(images), coordinates, known)
        return self.get_submodule(self.head_path).classify(features)


def add_coordinates(network: nn.Module, head: str, spec: GeoSpec, classes: int) -> None:
    """Lets a classifier of images take (images, coordinates, known); its own modules keep their names and weights.

    The class of the network is replaced by one derived from it, as torch.nn.utils.parametrize does. New weights are
    drawn from torch's generator.

    Args:
        network: float32 images [n, 3, height, width] -> logits [n, classes]; its last layer is the head.
        head: path of its head, a linear layer unless `spec.fusion` is logits.
        spec: what to add.
        classes: number of its logits.
    """
    if spec.fusion == "logits":
        network.add_module(geo.PATH, LogitsFusion(spec, classes))
        _derive(network, _WithLogits)
        return
    last = network.get_submodule(head)
    assert isinstance(last, nn.Linear)
    last.__class__ = _BeforeHead
    fusion = ConcatFusion if spec.fusion == "concat" else ModulateFusion
    network.add_module(geo.PATH, fusion(spec, last.in_features))
    network.head_path = head
    _derive(network, _WithFeatures)


def _derive(network: nn.Module, forward: type[nn.Module]) -> None:
    kind = type(network)
    network.__class__ = type(f"Geo{kind.__name__}", (forward, kind), {})


def network_inputs(coordinates: torch.Tensor | None, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """What a network takes beside images: coordinates [n, 3] and known [n, 2]; nothing where there are none.

    Args:
        coordinates: float32 [n, 3], NaN where unknown; None for a network that takes none.
        dtype: of the network.
    """
    if coordinates is None:
        return ()
    known = ~coordinates.isnan()
    place, time = known[:, :1] & known[:, 1:2], known[:, 2:]
    return coordinates.nan_to_num().to(dtype), torch.cat([place, time], 1).to(dtype)
