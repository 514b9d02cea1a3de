"""A bundle that answers for part after part: images are read ahead, and all cores decode and compute.

Each thread takes a batch, decodes it and asks the network, whose operators run in that thread alone: so no core waits
for another, and the answers depend on the images of a batch, not on how many threads there are. Batches are cut from
each part's beginning, so that they depend on the listing alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np

from scenerec.data.coordinates import Coordinates, coordinates_array
from scenerec.data.exif import photograph_coordinates
from scenerec.data.picture import PictureError
from scenerec.data.pool import default_processes
from scenerec.errors import ModelError, first_line
from scenerec.inference.bulk.listing import Part
from scenerec.inference.bulk.photographs import OpenPart, Photograph, UnreadableError
from scenerec.inference.bulk.request import Question
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.inference.predictors.photograph import Preparer
from scenerec.inference.predictors.predictor import DEFAULT_THRESHOLD, sigmoid, softmax
from scenerec.storage import IMPATIENT, Patience

_READERS = 16  # requests at a store that are under way at once
_AHEAD_BYTES = 256 << 20  # of encoded images that wait, beside the one batch that must


@dataclass(frozen=True)
class Answers:
    """What the model says of some images, in the order of their listing."""

    images: tuple[str, ...]
    """Addresses of the images that were read, n of them."""
    ranked: np.ndarray
    """Class indices by falling probability, the lower index first among equals: int64 [n, k]."""
    probabilities: np.ndarray
    """Probabilities of the ranked classes, float32 [n, k]."""
    unreadable: tuple[tuple[str, str], ...]
    """Address of each image that cannot be read, and why."""
    embeddings: np.ndarray | None = None
    """What the classifying layer is given of each image, or an embedding model gives, float32 [n, width]; None where
    none was asked for, or read."""
    given: tuple[tuple[tuple[int, float], ...], ...] = ()
    """Class index and probability of each label that a multi-label model gives an image, of n images, the most probable
    first; empty of another model."""

    @property
    def asked(self) -> int:
        """Images that were read or could not be."""
        return len(self.images) + len(self.unreadable)


class BulkPredictor:
    """Answers parts of a listing by a bundle.

    Args:
        bundle: from `open_bundle`.
        question: how the images are batched, and what is told of them.
        threads: that decode and compute; 0 takes one a core.
        patience: how long a store is waited for.

    Raises:
        BundleError: the model does not load, or gives no embeddings where they are asked for.
    """

    def __init__(self, bundle: Bundle, question: Question, threads: int = 0, patience: Patience = IMPATIENT) -> None:
        self.prepare = Preparer.of(bundle.info.preprocessing)
        self.question, self.threads, self.patience = question, threads or default_processes(), patience
        self._top_k = min(question.top_k, len(bundle.info.labels))
        self._name, self._temperature = bundle.url, bundle.info.temperature
        self._thresholds: np.ndarray | None = None
        if bundle.info.task == "multilabel":
            self._thresholds = np.array(bundle.info.label_thresholds or DEFAULT_THRESHOLD)
        self._free: SimpleQueue[_Ask] = SimpleQueue()
        for ask in _open_all(bundle, self.threads, question.embeddings):
            self._free.put(ask)

    def answer(self, parts: Iterable[Part], on_batch: Callable[[int], None] = lambda images: None) -> Iterator[Answers]:
        """Yields the answers of each part; `on_batch` is called with the number of images after each batch.

        Raises ModelError where the model fails, or answers something else than numbers, DataError for a shard that is
        another one or damaged, StorageError.
        """
        with ThreadPoolExecutor(_READERS, "read") as reading, ThreadPoolExecutor(self.threads, "answer") as computing:
            pending: deque[_Pending] = deque()
            done: list[Answers] = []

            def collect() -> Iterator[Answers]:
                """Takes the oldest batch; yields its part where it was the part's last."""
                oldest = pending.popleft()
                done.append(oldest.future.result())
                on_batch(done[-1].asked)
                if oldest.is_last:
                    yield _merge(done)
                    done.clear()

            try:
                for part in _one_ahead(OpenPart(part, reading, self.patience) for part in parts):
                    while pending and not part.is_there:
                        yield from collect()
                    for batch, is_last in _batches(part.photographs(), self.question.batch_size):
                        ahead = _READERS // self.question.batch_size + self.threads
                        size_bytes = sum(photograph.size_bytes for photograph in batch)
                        while pending and (
                            len(pending) > self.threads + ahead
                            or size_bytes + sum(each.size_bytes for each in pending) > _AHEAD_BYTES
                        ):
                            yield from collect()
                        pending.append(_Pending(computing.submit(self._answer, batch), size_bytes, is_last))
                while pending:
                    yield from collect()
            finally:
                for pool in (reading, computing):
                    pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, batch: Sequence[Photograph]) -> Answers:
        """In a thread of its own."""
        images, prepared, places = [], [], []
        unreadable = []
        for photograph in batch:
            try:
                content = photograph.content()
                prepared.append(self.prepare(content))
            except (PictureError, UnreadableError) as error:
                unreadable.append((photograph.image, str(error)))
                continue
            images.append(photograph.image)
            places.append(photograph.coordinates or self._coordinates(content))
        try:
            ranked, probabilities, embeddings, given = self._rank(prepared, places)
        except ModelError:
            raise
        except Exception as error:  # whatever onnxruntime raises
            where = f"{len(images)} images from {images[0]} on"
            raise ModelError(f"{self._name}: fails on a batch of {where}: {first_line(error)}") from None
        return Answers(tuple(images), ranked, probabilities, tuple(unreadable), embeddings, given)

    def _rank(
        self, images: Sequence[np.ndarray], places: Sequence[Coordinates | None]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, tuple[tuple[tuple[int, float], ...], ...]]:
        """The ranked classes, their probabilities, the embeddings where they are wanted, and the labels given."""
        if not images:
            nothing = np.empty((0, self._top_k), np.float32)
            return nothing.astype(np.int64), nothing, None, ()
        coordinates = coordinates_array(places) if any(places) else None
        ask = self._free.get()
        try:
            logits, embeddings = ask(np.stack(images), coordinates)
        finally:
            self._free.put(ask)
        if not (np.isfinite(logits).all() and (embeddings is None or np.isfinite(embeddings).all())):
            raise ModelError(f"{self._name}: gives answers that are not numbers: the model is damaged or diverged")
        if not logits.shape[1]:  # of an embedding model
            return np.empty(logits.shape, np.int64), logits, embeddings, ()
        multilabel = self._thresholds is not None
        probabilities = sigmoid(logits) if multilabel else softmax(logits, self._temperature)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        ranked, given = order[:, : self._top_k], self._given(probabilities, order)
        return ranked, np.take_along_axis(probabilities, ranked, axis=1), embeddings, given

    def _given(self, probabilities: np.ndarray, order: np.ndarray) -> tuple[tuple[tuple[int, float], ...], ...]:
        """Class index and probability of each label at or above its threshold, by falling probability."""
        if self._thresholds is None:
            return ()
        is_given = probabilities >= self._thresholds
        return tuple(
            tuple((int(index), float(row[index])) for index in indices if given[index])
            for row, indices, given in zip(probabilities, order, is_given, strict=True)
        )

    def _coordinates(self, content: bytes) -> Coordinates | None:
        """Those that the image's EXIF says, if it shall be asked and they are possible; else those of all."""
        if not self.question.coordinates_from_exif:
            return self.question.coordinates
        try:
            return photograph_coordinates(content) or self.question.coordinates
        except ValueError:
            return self.question.coordinates


@dataclass(frozen=True)
class _Pending:
    """A batch that is being answered."""

    future: "Future[Answers]"
    size_bytes: int
    is_last: bool
    """Whether it ends a part."""


_Ask = Callable[[np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray | None]]
"""Images and their coordinates, as `Predictor.logits` takes them -> logits and perhaps embeddings."""


def _open_all(bundle: Bundle, threads: int, embeddings: bool) -> list[_Ask]:
    """A model for each thread, each of one thread: an onnxruntime session takes several callers at once."""
    if embeddings:
        from scenerec.inference.predictors.embedder import Embedder  # onnx, which a light installation lacks

        return [Embedder(bundle, 1).logits_and_embeddings] * threads

    def open_one() -> _Ask:
        predictor = predictor_of(bundle, 1)
        return lambda images, coordinates: (predictor.logits(images, coordinates), None)

    return [open_one()] * threads if bundle.info.format == "onnx" else [open_one() for _ in range(threads)]


def _one_ahead(parts: Iterator[OpenPart]) -> Iterator[OpenPart]:
    """The parts, each when the one behind it has been opened."""
    following = next(parts, None)
    while (part := following) is not None:
        following = next(parts, None)
        yield part


def _batches(photographs: Iterable[Photograph], size: int) -> Iterator[tuple[list[Photograph], bool]]:
    """Batches of a part in order, the last one smaller, each with whether it is the last."""
    batch: list[Photograph] = []
    for photograph in photographs:
        if len(batch) == size:
            yield batch, False
            batch = []
        batch.append(photograph)
    yield batch, True


def _merge(batches: Sequence[Answers]) -> Answers:
    return Answers(
        tuple(image for batch in batches for image in batch.images),
        np.concatenate([batch.ranked for batch in batches]),
        np.concatenate([batch.probabilities for batch in batches]),
        tuple(each for batch in batches for each in batch.unreadable),
        _joined([batch.embeddings for batch in batches if batch.embeddings is not None]),
        tuple(given for batch in batches for given in batch.given),
    )


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray | None:
    return np.concatenate(arrays) if arrays else None
