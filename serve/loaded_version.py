"""One version of a model in the memory of a process, proven and warm."""

from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

import numpy as np

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.explain.cam import ActivationMapper, explains
from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.engine import Engine
from scenerec.inference.predictors.golden import check_golden
from serve.statistics import Statistics

_WARM_UP_BATCHES = (1, 2)


@dataclass(frozen=True)
class EngineOptions:
    """How a process computes."""

    threads: int = 1
    """Threads of the network's operators."""
    decoders: int = 0
    """Threads that decode photographs beside the network; with 0 its own thread decodes."""
    max_batch: int = 8
    """Photographs that the network takes at once."""
    max_queue: int = 64
    """Photographs that may wait."""
    max_pixels: int = 50_000_000
    """Larger pictures are refused."""
    uses_gpu: bool = False
    """Whether the network runs on one, where this onnxruntime can."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers in order of preference."""
        return ("CUDAExecutionProvider", "CPUExecutionProvider") if self.uses_gpu else ("CPUExecutionProvider",)


@dataclass(eq=False)
class LoadedVersion:
    """One version that has answered its golden images and is warm."""

    model: str
    """Name of the model."""
    number: str
    """Number of the version, such as "3"."""
    bundle: Bundle
    """The files, verified."""
    engine: Engine
    """What answers."""
    failures: int = 0
    """Requests that this version could not answer, though they were fine."""
    statistics: Statistics = field(default_factory=Statistics)
    """What it was asked in this process."""
    _mapper: ActivationMapper | None = field(default=None, repr=False)
    _mapper_lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class index."""
        return self.bundle.info.labels

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.bundle.info.preprocessing.image_size

    @cached_property
    def explains(self) -> bool:
        """Whether its network has class activation maps."""
        return bool(self.labels) and explains(self.bundle.model_file)

    def heat_map(self, photograph: bytes, class_index: int) -> np.ndarray:
        """Where the network sees this class in an encoded photograph: float32 [image_size, image_size] in [0, 1].

        Slow: not for an event loop. Raises NoHeatMapError.
        """
        with self._mapper_lock:  # its sessions are made by the first who asks
            self._mapper = self._mapper or ActivationMapper(self.bundle)
            return self._mapper.heat_map(self.engine.classifier.prepare(photograph), class_index)


def load_version(model: str, number: str, bundle: Bundle, options: EngineOptions) -> LoadedVersion:
    """Loads a verified bundle, lets it answer its golden images and warms it up. Takes seconds.

    Raises BundleError where it does not load, or does not answer as it must.
    """
    if not bundle.info.can_be_served:
        raise BundleError(f"{bundle.url}: is of format {bundle.info.format}, which is not served")
    classifier = Classifier(bundle, options.threads, options.max_pixels, options.providers)
    check_golden(classifier.model, bundle)
    size = bundle.info.preprocessing.image_size
    for count in {*_WARM_UP_BATCHES, options.max_batch}:
        classifier.model.logits(np.zeros((count, size, size, 3), np.uint8))
    served = LoadedVersion(
        model, number, bundle, Engine(classifier, options.max_batch, options.max_queue, options.decoders)
    )
    _ = served.explains  # reads the graph: not while somebody waits
    return served
