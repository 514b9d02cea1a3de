"""A backbone of a probe, read: its weights without a head, and what is known of them."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from scenerec.config.probe import BackboneConfig, ProbeConfig
from scenerec.errors import ModelError, PlanError
from scenerec.inference.bundles.info import Preprocessing
from scenerec.models import geo
from scenerec.models.blocks import is_under
from scenerec.models.neutral import State, StateError, check_fits
from scenerec.models.preprocessing import WeightPreprocessing
from scenerec.models.weights.origin import Origin, find_origin
from scenerec.models.weights.preprocessing import find_preprocessing
from scenerec.models.zoo import architecture
from scenerec.storage import IMPATIENT, Patience
from scenerec.training.weight_source import WeightSource

_STATISTICS = (".running_mean", ".running_var")


@dataclass(frozen=True)
class Backbone:
    """What is known of a network without its last layer."""

    config: BackboneConfig
    """What the probe says of it."""
    features: int
    """Numbers that it makes of an image."""
    parameters: int
    """Weights that a training would learn."""
    digest: str
    """SHA-256 over names, shapes and values of its weights."""
    preprocessing: Preprocessing
    """What an image goes through before it."""
    origin: Origin
    """What its weights began as, and their licence."""

    @property
    def gflops(self) -> float:
        """1e9 multiply-adds for one of its images, with a head of 1000 classes."""
        return architecture(self.config.arch).gflops_at(self.preprocessing.image_size)


def with_head(arch: str, state: State, weight: np.ndarray, bias: np.ndarray) -> State:
    """A backbone's state with that of a head, weight [classes, features] and bias [classes]: a classifier's."""
    head = architecture(arch).head
    return {**state, f"{head}.weight": weight.astype(np.float32), f"{head}.bias": bias.astype(np.float32)}


def read_backbone(
    config: ProbeConfig, number: int, patience: Patience = IMPATIENT, download: bool = False
) -> tuple[Backbone, State]:
    """Reads the backbone at `number`, from 0: what is known of it, and its neutral state without the head's tensors.

    With `download` what the store lacks is fetched, and kept.

    Raises:
        PlanError: the architecture does not end in a linear layer.
        ModelError: there are no such weights, or they do not fit the architecture.
        StorageError: the store does not answer.
    """
    from scenerec.models.torch_outline import state_shapes  # imports torch, which takes seconds

    chosen = config.backbones[number]
    head, shapes = architecture(chosen.arch).head, state_shapes(chosen.arch, classes=1)
    shape = shapes[f"{head}.weight"]
    if len(shape) != 2 or f"{head}.bias" not in shapes:
        raise PlanError(
            f"backbones.{number}.arch: {chosen.arch} does not end in a linear layer, which is what a probe fits: take "
            "another architecture"
        )
    shapes = {key: each for key, each in shapes.items() if not is_under(key, head)}
    state = _state(config, number, shapes, patience, download)
    known = Backbone(
        config=chosen,
        features=shape[1],
        parameters=sum(array.size for key, array in state.items() if not key.endswith(_STATISTICS)),
        digest=_digest(state),
        preprocessing=Preprocessing.of_weights(_preprocessing(config, number, patience), config.image_size(chosen)),
        origin=find_origin(chosen.weights, chosen.arch, patience),
    )
    return known, state


def _preprocessing(config: ProbeConfig, number: int, patience: Patience) -> WeightPreprocessing:
    """What the weights expect of the pixels; the config's `data` has the last word, for all of the backbones."""
    chosen, data = config.backbones[number], config.data
    found = find_preprocessing(chosen.weights, chosen.arch, patience, _source(config, number).fetched_to)
    return found.changed(**{field: getattr(data, field) for field in WeightPreprocessing.model_fields})


def _source(config: ProbeConfig, number: int) -> WeightSource:
    chosen, field = config.backbones[number], f"backbones.{number}.weights"
    source = WeightSource(field, chosen.weights, config.output, chosen.arch, chosen.weights_ema)
    return replace(source, accepted=chosen.accept_licence)


def _digest(state: State) -> str:
    digest = hashlib.sha256()
    for key, array in sorted(state.items()):
        digest.update(f"{key} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()


def _state(
    config: ProbeConfig, number: int, shapes: dict[str, tuple[int, ...]], patience: Patience, download: bool
) -> State:
    chosen = config.backbones[number]
    if chosen.weights == "none":
        from scenerec.models import torch_encoder, torch_model

        return torch_model.state(torch_encoder.build(chosen.arch, lambda features: {}, config.seed))
    source = _source(config, number)
    with source.open(patience, download) as file:
        file = file.for_network(shapes, str(source))
        if file.arch not in (None, chosen.arch):
            raise ModelError(f"{source}: are of {file.arch}, and backbones.{number}.arch is {chosen.arch}")
        left = (architecture(chosen.arch).head, geo.PATH)
        state = {key: array for key, array in file.state.items() if not any(is_under(key, path) for path in left)}
        try:
            check_fits(shapes, state, chosen.arch)
        except StateError as error:
            raise StateError(f"{source}: {error}") from None
        return state
