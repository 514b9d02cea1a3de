"""A model that is shown the pictures of a data set: which of their labels it may judge, and what it sees in them."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from scenerec.checkpoint import read_run_state
from scenerec.data.pool import default_processes
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.sources import Part
from scenerec.errors import BundleError, ConfigError, ModelError
from scenerec.inference.bundles.bundle import INFO_FILE, open_bundle
from scenerec.inference.predictors.open_predictor import open_predictor
from scenerec.inference.predictors.photograph import Preparer
from scenerec.inference.predictors.predictor import Predictor
from scenerec.inference.predictors.trained_model import find_checkpoint
from scenerec.names import clean
from scenerec.storage import open_storage, split_url

_BATCH_SIZE = 32
_BATCHES_AHEAD = 2  # decoded, or on their way, while the model works

Look = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""Prepared images -> logits, and embeddings of a model that gives them."""


@dataclass(frozen=True)
class Sight:
    """What a model sees in pictures."""

    pictures: tuple[PictureFacts, ...]
    logits: np.ndarray
    """float32 [pictures, classes of the model]."""
    embeddings: np.ndarray | None = None
    """What its classifying layer is given, float32 [pictures, width]; None where it does not tell."""


@dataclass(frozen=True)
class Onlooker:
    """A model before a data set."""

    model: Predictor
    look: Look
    gives_embeddings: bool
    """Whether it tells what its classifying layer is given, as ONNX bundles do."""
    seen: frozenset[str]
    """The splits that it has trained on: it repeats their labels, whatever they show."""
    knows_classes: bool
    """Whether it names the set's classes."""
    is_trusted: bool = False
    """Whether nothing tells if it has trained on what it judges: pictures of its classes, without splits."""

    @property
    def remarks(self) -> list[str]:
        """What one should know of what it says, in words."""
        trusted = "it is taken not to have trained on these pictures, whose labels it would repeat"
        blind = "it gives no embeddings, by which an exported bundle finds pictures that it hardly tells apart"
        told = {trusted: self.is_trusted, blind: not self.gives_embeddings}
        return [f"{self.model.name}: {remark}" for remark, holds in told.items() if holds]

    def sight(
        self,
        parts: Sequence[Part],
        pictures: Sequence[PictureFacts],
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Sight:
        """What it sees in pictures, which are read again from the parts of the set.

        `on_progress` is called with the pictures that it has been shown, and all. Raises ModelError where it gives no
        numbers, DataError, StorageError.
        """
        place = {picture.path: number for number, picture in enumerate(pictures)}
        prepare = Preparer.of(self.model)
        found: list[np.ndarray] = []
        done = 0
        on_progress(0, len(place))
        with ThreadPoolExecutor(default_processes(), "decode") as pool:
            for paths, images in _prepared(parts, place.keys(), prepare, pool):
                answers = self.look(images)
                if not all(np.isfinite(each).all() for each in answers):
                    problem = "gives answers that are not numbers: the model is damaged or diverged"
                    raise ModelError(f"{self.model.name}: {problem}")
                found = found or [np.zeros((len(place), each.shape[1]), np.float32) for each in answers]
                for every, some in zip(found, answers, strict=True):
                    every[[place[path] for path in paths]] = some
                done += len(paths)
                on_progress(done, len(place))
        return Sight(tuple(pictures), *found)


def open_onlooker(target: str, classes: Collection[str], fingerprints: Mapping[str, str | None]) -> Onlooker:
    """A model before a data set: which of its splits it may judge, and how.

    Args:
        target: address of a run, a checkpoint, a bundle or a `.tflite` file.
        classes: of the data set.
        fingerprints: of its splits, where it is packed; a set that was named itself has the split "".

    Raises:
        ConfigError: the model has trained on all of them, or the address is none.
        ModelError, CheckpointError, BundleError, StorageError: there is no such model.
    """
    model, look, gives_embeddings = _open(target)
    if not {clean(name) for name in classes} <= {clean(label) for label in model.labels}:
        return Onlooker(model, look, gives_embeddings, frozenset(), knows_classes=False)
    training_set = _training_set_of(target)
    seen = {split for split, own in fingerprints.items() if split == "train" or (own and own == training_set)}
    if seen == fingerprints.keys():
        problem = "has trained on these pictures, and repeats their labels"
        raise ConfigError(f"{model.name}: {problem}: check a split that it has not seen, or leave --model out")
    is_trusted = "" in fingerprints and None in (fingerprints[""], training_set)
    return Onlooker(model, look, gives_embeddings, frozenset(seen), knows_classes=True, is_trusted=is_trusted)


def _open(target: str) -> tuple[Predictor, Look, bool]:
    """A model, how it looks, and whether it gives embeddings."""
    if not target.endswith(".tflite") and open_storage(target).size(INFO_FILE) is not None:
        with suppress(BundleError, ModuleNotFoundError):  # it gives none, or onnx, which asks it for them, is missing
            from scenerec.inference.predictors.embedder import Embedder

            embedder = Embedder(open_bundle(target))
            return embedder, embedder.logits_and_embeddings, True
    predictor = open_predictor(target)
    return predictor, lambda images: (predictor.logits(images),), False


def _training_set_of(target: str) -> str | None:
    """Fingerprint of the set that a run, a checkpoint or a bundle was trained on, where it is known."""
    if target.endswith(".tflite"):
        return None
    if open_storage(target).size(INFO_FILE) is not None:
        return open_bundle(target).info.lineage.dataset_fingerprint
    folder, name = split_url(find_checkpoint(target))
    return read_run_state(open_storage(folder), name).identity.get("training set")


def _prepared(
    parts: Sequence[Part], wanted: Collection[str], prepare: Preparer, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Batches of the wanted pictures' paths and uint8 [n, size, size, 3]; the next ones are decoded meanwhile."""
    pending: deque[list[tuple[str, Future[np.ndarray]]]] = deque([[]])
    for picture in (picture for part in parts for picture in part.pictures()):
        if picture.path not in wanted or isinstance(picture.content, OSError):
            continue
        pending[-1].append((picture.path, pool.submit(prepare, picture.content)))
        if len(pending[-1]) == _BATCH_SIZE:
            pending.append([])
        if len(pending) > _BATCHES_AHEAD:
            yield _ready(pending.popleft())
    yield from (_ready(batch) for batch in pending if batch)


def _ready(batch: Sequence[tuple[str, Future[np.ndarray]]]) -> tuple[list[str], np.ndarray]:
    return [path for path, _ in batch], np.stack([future.result() for _, future in batch])
