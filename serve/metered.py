"""One request's way to the models: charged to its caller before, and noted afterwards."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.inference.predictors.engine import Answer
from serve.access.admission import RequestLimits
from serve.access.keys import Caller, Guard
from serve.access_record import AccessRecord
from serve.loaded_version import LoadedVersion
from serve.shelf import Shelf


@dataclass(frozen=True)
class Metered:
    """The shelf, as one request may use it."""

    shelf: Shelf
    guard: Guard
    caller: Caller | None
    record: AccessRecord
    limits: RequestLimits
    draw: Callable[[], float] = random.random
    """Random numbers of [0, 1), which choose between weighted versions."""

    def pick(self, model: str, number: str) -> LoadedVersion:
        """The version of this number; without one, a version by its weight. Raises NotServedError."""
        return self.shelf.pick(model, self.draw(), number)

    async def ask(
        self,
        version: LoadedVersion,
        photographs: Sequence[bytes | np.ndarray],
        coordinates: Sequence[np.ndarray | None] | None = None,
    ) -> tuple[LoadedVersion, list[Answer]]:
        """The answers of this version, or of one in its place, to encoded photographs or to prepared images.

        Prepared images are uint8 RGB [image_size, image_size, 3]; `coordinates` are as in `Engine.ask_all`, and are
        private: they go into no record. Charges the caller, and notes who has answered and how long it took, in the
        record and in the version's statistics. Raises RequestError for too many
        images, and for a caller that asks too often; what Shelf.ask raises.
        """
        record = self.record
        record.model, record.version, record.images = version.model, version.number, len(photographs)
        self.limits.check_images(len(photographs))
        self.guard.charge(self.caller, len(photographs))
        started = time.perf_counter()
        try:
            version, answers = await self.shelf.ask(version, photographs, self.limits.timeout_s, coordinates)
        except Exception:
            version.statistics.add_failure(time.perf_counter() - started)
            raise
        took_s = time.perf_counter() - started
        record.version = version.number
        record.queued_s = max([answer.queued_s for answer in answers])
        record.prepared_s = sum([answer.prepared_s for answer in answers])
        record.inferred_s = max([answer.inferred_s for answer in answers])
        record.batch_size = max([answer.batch_size for answer in answers])
        version.statistics.add(record, sum([1 / answer.batch_size for answer in answers]), took_s)
        return version, answers
