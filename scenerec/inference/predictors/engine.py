"""One model that many callers ask at once: their photographs are answered in batches that nobody waits for.

A worker thread takes whatever has arrived when it becomes free, up to `max_batch`, so a lone request is answered at
once and a busy model works in larger batches. What cannot be answered in time is refused at once, not queued.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scenerec.errors import ScenerecError
from scenerec.inference.predictors.classifier import Classifier


class OverloadedError(ScenerecError):
    """A request that is refused, as more wait than the engine takes."""


class ExpiredError(ScenerecError):
    """A request that waited for longer than its caller does."""


class ClosedError(ScenerecError):
    """A request to an engine that was closed: another version has taken over."""


@dataclass(frozen=True)
class Answer:
    """What the model says of one photograph, and how long it took."""

    probabilities: np.ndarray
    """Probabilities, float32 [classes]."""
    logits: np.ndarray
    """Logits, float32 [classes]; of a model whose task is `embedding` its features, which have no probabilities."""
    queued_s: float
    """Seconds of waiting for the model to be free."""
    prepared_s: float
    """Seconds of decoding and resizing this photograph; 0 for one that came prepared."""
    inferred_s: float
    """Seconds of the network, on the whole batch."""
    batch_size: int
    """Photographs that were answered together."""


@dataclass
class _Request:
    photograph: bytes | np.ndarray
    asked_at: float
    deadline: float
    future: "asyncio.Future[Answer]"
    coordinates: np.ndarray | None = None
    image: np.ndarray | None = None
    """Prepared."""
    prepared_s: float = 0.0
    outcome: Answer | Exception | None = None
    """What its caller gets, as soon as it is known."""


class Engine:
    """Answers photographs with one classifier, from the event loop of its caller.

    Args:
        classifier: with sessions of as many threads as the engine may use.
        max_batch: photographs that the network takes at once.
        max_queue: photographs that may wait; further ones are refused.
        decoders: threads that prepare photographs while the network computes; with 0 its own thread prepares them,
            which is quickest where it has but one core.
    """

    def __init__(self, classifier: Classifier, max_batch: int = 8, max_queue: int = 64, decoders: int = 0) -> None:
        self.classifier = classifier
        self.max_batch = max_batch
        self.max_queue = max_queue
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._accepted = 0  # photographs that wait, or are being prepared to wait
        self._closed = False
        self._decoders = ThreadPoolExecutor(decoders, "decoder") if decoders else None
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    async def ask(
        self, photograph: bytes | np.ndarray, timeout_s: float = 30.0, coordinates: np.ndarray | None = None
    ) -> Answer:
        """Answers an encoded photograph, or a prepared one: uint8 RGB [image_size, image_size, 3].

        `coordinates` are float32 [3] as a row of those of `Predictor.logits`; None where they are not known.

        Raises PictureError for what is no image, OverloadedError at once where too many wait, ExpiredError after
        `timeout_s`, ClosedError where the engine closes.
        """
        (answer,) = await self.ask_all([photograph], timeout_s, [coordinates])
        return answer

    async def ask_all(
        self,
        photographs: Sequence[bytes | np.ndarray],
        timeout_s: float = 30.0,
        coordinates: Sequence[np.ndarray | None] | None = None,
    ) -> list[Answer]:
        """Answers several photographs, all or none: the first error is raised. Raises as `ask` does.

        `coordinates` are those of each photograph; None where none are known.
        """
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        requests = [
            _Request(photograph, now, now + timeout_s, loop.create_future(), places)
            for photograph, places in zip(photographs, coordinates or [None] * len(photographs), strict=True)
        ]
        with self._changed:
            if self._closed:
                raise ClosedError("this version of the model is no longer served")
            if self._accepted + len(requests) > max(self.max_queue, len(requests)):
                raise OverloadedError(f"{self._accepted} images are waiting already: try again in a moment")
            self._accepted += len(requests)
            if self._decoders is None:
                self._waiting.extend(requests)
                self._changed.notify()
            else:
                for request in requests:
                    self._decoders.submit(self._decode, request)
        return await asyncio.gather(*(request.future for request in requests))

    def close(self) -> None:
        """Answers what waits, then ends the worker. Returns when it has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if self._decoders:
            self._decoders.shutdown()

    def _decode(self, request: _Request) -> None:
        """In one of the decoders: the photograph joins the queue when it is prepared."""
        self._prepare(request)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._take():
            self._answer(batch)
            _deliver(batch)

    def _take(self) -> list[_Request]:
        """The next batch, as soon as there is one; empty when the engine is closed."""
        with self._changed:
            while not self._waiting and not (self._closed and not self._accepted):
                self._changed.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self.max_batch))]
            self._accepted -= len(batch)
            return batch

    def _answer(self, batch: Sequence[_Request]) -> None:
        """Sets the outcome of every request: a bad photograph fails alone."""
        taken_at = time.perf_counter()
        for request in batch:
            if time.perf_counter() > request.deadline:
                request.outcome = ExpiredError("the model was too busy to answer in time: try again in a moment")
            elif request.image is None and request.outcome is None:
                self._prepare(request)
        prepared = [request for request in batch if request.outcome is None]
        if prepared:
            try:
                self._infer(prepared, taken_at)
            except Exception as error:  # whatever onnxruntime raises belongs to these callers, not to the worker
                for request in prepared:
                    request.outcome = error

    def _prepare(self, request: _Request) -> None:
        """Sets its image, or the error that is its outcome."""
        if isinstance(request.photograph, np.ndarray):
            request.image = request.photograph
            return
        started = time.perf_counter()
        try:
            request.image = self.classifier.prepare(request.photograph)
        except Exception as error:
            request.outcome = error
        request.prepared_s = time.perf_counter() - started

    def _infer(self, requests: Sequence[_Request], taken_at: float) -> None:
        started = time.perf_counter()
        images = [request.image for request in requests if request.image is not None]
        stacked = np.stack(images) if len(images) > 1 else images[0][np.newaxis]
        logits = self.classifier.model.logits(stacked, _coordinates(requests))
        probabilities = self.classifier.model.probabilities_of(logits)
        inferred_s = time.perf_counter() - started
        for row, request in enumerate(requests):
            request.outcome = Answer(
                probabilities[row],
                logits[row],
                queued_s=taken_at - request.asked_at,
                prepared_s=request.prepared_s,
                inferred_s=inferred_s,
                batch_size=len(requests),
            )


def _coordinates(requests: Sequence[_Request]) -> np.ndarray | None:
    """Those of the photographs, float32 [n, 3]; None where no photograph has any."""
    if all(request.coordinates is None for request in requests):
        return None
    unknown = np.full(3, np.nan, np.float32)
    return np.stack([unknown if request.coordinates is None else request.coordinates for request in requests])


def _deliver(batch: Sequence[_Request]) -> None:
    """In each caller's event loop; a loop that has ended meanwhile has no caller left."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Request]] = {}
    for request in batch:
        by_loop.setdefault(request.future.get_loop(), []).append(request)
    for loop, requests in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, requests)


def _resolve(requests: Sequence[_Request]) -> None:
    for request in requests:
        if request.future.done():  # its caller has gone
            continue
        if isinstance(request.outcome, Answer):
            request.future.set_result(request.outcome)
        elif request.outcome is not None:
            request.future.set_exception(request.outcome)
