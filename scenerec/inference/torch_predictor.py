"""Torch networks as predictors. Mirrors tf_predictor."""

import numpy as np
import torch
from torch import nn

from scenerec.inference.bundle import Preprocessing
from scenerec.inference.trained_model import TrainedModel
from scenerec.models import torch_model


class TorchPredictor:
    """A module as a `Predictor`.

    Args:
        network: normalised float32 [n, 3, image_size, image_size] -> logits [n, classes]; it is put in evaluation mode.
        name: for people.
        labels: class names, or none.
        preprocessing: what the network expects.
        device: where it computes, such as cpu or cuda.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        labels: tuple[str, ...],
        preprocessing: Preprocessing,
        device: str = "cpu",
    ) -> None:
        self.name, self.labels = name, labels
        self.image_size, self.eval_crop_ratio = preprocessing.image_size, preprocessing.eval_crop_ratio
        self._device = torch.device(device)
        self._network = network.eval().to(self._device)
        self._mean, self._std = (
            torch.tensor(values, device=self._device).view(1, 3, 1, 1).mul(255)
            for values in (preprocessing.mean, preprocessing.std)
        )

    @torch.no_grad()
    def logits(self, images: np.ndarray) -> np.ndarray:
        """See Predictor."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2).float()
        return self._network((pixels - self._mean) / self._std).float().cpu().numpy()


def load(model: TrainedModel, threads: int = 0, device: str = "cpu") -> TorchPredictor:
    """A trained model in torch; `threads` of this process compute (0: as many as torch chooses).

    Raises StateError where the weights do not fit the architecture.
    """
    if threads:
        torch.set_num_threads(threads)
    return TorchPredictor(network(model), model.url, model.labels, model.preprocessing, device)


def network(model: TrainedModel) -> nn.Module:
    """The trained network, in evaluation mode on the CPU. Raises StateError."""
    built = torch_model.build(model.arch, model.classes, seed=0).eval()
    torch_model.load_state(built, model.state)
    return built


def default_device() -> str:
    """The GPU where torch can use one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
