"""Torch networks that answer. tf_predictor is the counterpart in TensorFlow."""

import importlib
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from scenerec.errors import ModelError, first_line
from scenerec.inference.predictors.predictor import NetworkInfo, Predictor, place_inputs
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import torch_encoder, torch_model


class TorchPredictor(Predictor):
    """A torch module that answers.

    Args:
        network: normalised float32 [n, 3, image_size, image_size] -> logits [n, classes]; it is put in evaluation mode.
        info: what is known of it.
        device: where it computes, such as cpu or cuda.
        takes_coordinates: whether it takes coordinates [n, 3] and known [n, 2] as well.
    """

    def __init__(
        self, network: nn.Module, info: NetworkInfo, device: str = "cpu", takes_coordinates: bool = False
    ) -> None:
        preprocessing = info.preprocessing
        self.takes_coordinates = takes_coordinates
        self.name, self.labels, self.task = info.name, info.labels, info.task
        self.image_size, self.eval_crop_ratio = preprocessing.image_size, preprocessing.eval_crop_ratio
        self.interpolation = preprocessing.interpolation
        self._device = torch.device(device)
        self.network = network.eval().to(self._device)
        self._mean, self._std = (
            torch.tensor(values, device=self._device).view(1, 3, 1, 1).mul(255)
            for values in (preprocessing.mean, preprocessing.std)
        )

    @override
    @torch.no_grad()
    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2).float()
        places = place_inputs(coordinates, len(images)) if self.takes_coordinates else ()
        others = (torch.from_numpy(each).to(self._device) for each in places)
        return self.network((pixels - self._mean) / self._std, *others).float().cpu().numpy()


def load(network: ZooNetwork, info: NetworkInfo, threads: int = 0, device: str = "cpu") -> TorchPredictor:
    """Builds a network of the zoo in torch; `threads` of this process compute (0: as many as torch chooses).

    Raises StateError where the weights do not fit the architecture.
    """
    if threads:
        torch.set_num_threads(threads)
    return TorchPredictor(build(network), info, device, takes_coordinates=network.geo is not None)


def build(network: ZooNetwork) -> nn.Module:
    """Builds the network with its weights, in evaluation mode on the CPU; of a backbone, the logits are the features.

    Raises StateError where the weights do not fit the architecture.
    """
    if network.classes:
        built = torch_model.build(network.arch, network.classes, 0, network.geo)
    else:
        built = torch_encoder.build(network.arch, lambda features: {}, 0)
    torch_model.load_state(built, network.state)
    return built.eval()


def import_network(import_path: str) -> nn.Module:
    """Returns what MODULE:CALLABLE gives, called without arguments; this runs the module's code.

    The current folder is searched first, as by `python -m`. Raises ModelError where there is no such callable, where
    it fails, and where it returns something else than a module.
    """
    module, _, attribute = import_path.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        network = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # anyone's code
        raise ModelError(f"{import_path}: {type(error).__name__}: {first_line(error)}") from None
    if not isinstance(network, nn.Module):
        raise ModelError(f"{import_path}: returns {type(network).__name__}, not a torch.nn.Module")
    return network.cpu().eval()


def default_device() -> str:
    """Names the GPU where torch can use one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
