"""The versions of models that one process serves, and which of them a request gets."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

import numpy as np

from scenerec.errors import BundleError, ScenerecError
from scenerec.inference.bundles.bundle import Bundle, BundleInfo
from scenerec.inference.explain.cam import ActivationMapper, explains
from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.engine import Answer, ClosedError, Engine
from scenerec.inference.predictors.golden import check_golden
from serve.errors import NotServedError

_WARM_UP_BATCHES = (1, 2)


@dataclass(frozen=True)
class EngineOptions:
    """How a process computes."""

    threads: int = 1
    """Of the network's operators."""
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
    """Of the version, such as "3"."""
    bundle: Bundle
    engine: Engine
    failures: int = 0
    """Requests that this version could not answer, though they were fine."""
    _mapper: ActivationMapper | None = field(default=None, repr=False)
    _mapper_lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def info(self) -> BundleInfo:
        """bundle.json."""
        return self.bundle.info

    @property
    def url(self) -> str:
        """Where it comes from."""
        return self.bundle.url

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
        return explains(self.bundle.model_file)

    def heat_map(self, photograph: bytes, class_index: int) -> np.ndarray:
        """float32 [image_size, image_size] in [0, 1]. Slow: not for an event loop. Raises NoHeatMapError."""
        with self._mapper_lock:  # its sessions are made by the first who asks
            self._mapper = self._mapper or ActivationMapper(self.bundle)
            return self._mapper.heat_map(self.engine.classifier.prepare(photograph), class_index)


def load_version(model: str, number: str, bundle: Bundle, options: EngineOptions) -> LoadedVersion:
    """Loads a verified bundle, lets it answer its golden images and warms it up. Takes seconds.

    Raises BundleError where it does not load, or does not answer as it must.
    """
    if bundle.info.format != "onnx":
        raise BundleError(f"{bundle.url}: is of format {bundle.info.format}: only bundles of format onnx are served")
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


@dataclass(frozen=True)
class Weighted:
    """A version and its share of the requests that name none."""

    version: LoadedVersion
    weight: float
    """In (0, 1]; those of a model add up to 1."""


class Shelf:
    """What is served now. It is replaced as a whole: a request sees the shelf before a roll-out or the one after."""

    def __init__(self) -> None:
        self._models: Mapping[str, tuple[Weighted, ...]] = {}
        self._standby: tuple[LoadedVersion, ...] = ()

    def replace(
        self, models: Mapping[str, Sequence[Weighted]], standby: Sequence[LoadedVersion] = ()
    ) -> list[LoadedVersion]:
        """Serves these from now on, and keeps `standby` at hand for what they fail to answer.

        Returns what is neither, for the caller to close.
        """
        before = [*self.versions(), *self._standby]
        self._models = {name: tuple(versions) for name, versions in models.items()}
        self._standby = tuple(standby)
        kept = {id(version) for version in (*self.versions(), *standby)}
        return [version for version in before if id(version) not in kept]

    def names(self) -> list[str]:
        """Of the models."""
        return list(self._models)

    def weighted(self, model: str) -> tuple[Weighted, ...]:
        """The versions of a model. Raises NotServedError."""
        try:
            return self._models[model]
        except KeyError:
            raise NotServedError.of_model(model, self.names()) from None

    def versions(self) -> list[LoadedVersion]:
        """All that is served."""
        return [each.version for versions in self._models.values() for each in versions]

    def pick(self, model: str, draw: float, number: str | None = None) -> LoadedVersion:
        """The version of this number; without one, a version by its weight, for a `draw` from [0, 1).

        Raises NotServedError.
        """
        versions = self.weighted(model)
        if number is not None:
            for each in versions:
                if each.version.number == number:
                    return each.version
            raise NotServedError.of_version(model, number, [each.version.number for each in versions])
        for each in versions:
            draw -= each.weight
            if draw < 0:
                return each.version
        return versions[0].version

    async def ask(
        self, version: LoadedVersion, photographs: Sequence[bytes | np.ndarray], timeout_s: float
    ) -> tuple[LoadedVersion, list[Answer]]:
        """The answers of this version, and the version itself.

        Where it has left the shelf meanwhile, or fails for a reason of its own, another version that is served answers
        in its place. Raises what Engine.ask_all raises; where nothing else is served, what the version raised.
        """
        tried: list[LoadedVersion] = []
        ends_at = time.perf_counter() + timeout_s
        while True:
            tried.append(version)
            try:
                return version, await version.engine.ask_all(photographs, ends_at - time.perf_counter())
            except ScenerecError as error:
                if not isinstance(error, ClosedError):
                    raise
                failure: Exception = error
            except Exception as error:  # the model's own: onnxruntime has an error class for each of its codes
                version.failures += 1
                failure = error
            others = (each for each in self._instead_of(version, photographs) if each not in tried)
            if (other := next(others, None)) is None:
                raise failure
            version = other

    def _instead_of(self, version: LoadedVersion, photographs: Sequence[bytes | np.ndarray]) -> Iterator[LoadedVersion]:
        """Other versions that can answer: prepared images are of one size."""
        takes_any = all(isinstance(each, bytes) for each in photographs)
        for each in (*(each.version for each in self._models.get(version.model, ())), *self._standby):
            if each.model == version.model and (takes_any or each.image_size == version.image_size):
                yield each
