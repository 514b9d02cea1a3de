"""One request's way to the models: charged to its caller before, and noted afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.inference.predictors.engine import Answer
from serve.events import Event
from serve.keys import Caller, Guard
from serve.limits import Limits
from serve.models import ServedVersion, Shelf


@dataclass(frozen=True)
class Metered:
    """The shelf, as one request may use it."""

    shelf: Shelf
    guard: Guard
    caller: Caller | None
    event: Event
    limits: Limits

    async def ask(
        self, version: ServedVersion, photographs: Sequence[bytes | np.ndarray]
    ) -> tuple[ServedVersion, list[Answer]]:
        """As Shelf.ask. Also raises RequestError for too many images, and for a caller that asks too often."""
        event = self.event
        event.model, event.version, event.images = version.model, version.number, len(photographs)
        self.limits.check_images(len(photographs))
        self.guard.charge(self.caller, len(photographs))
        version, answers = await self.shelf.ask(version, photographs, self.limits.timeout_s)
        event.version = version.number
        event.queued_s = max(answer.queued_s for answer in answers)
        event.prepared_s = sum(answer.prepared_s for answer in answers)
        event.inferred_s = max(answer.inferred_s for answer in answers)
        event.batch_size = max(answer.batch_size for answer in answers)
        return version, answers
