"""What the interfaces of a process, HTTP and gRPC, have in common."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from serve.access.admission import Load, RequestLimits
from serve.access.keys import Caller, Guard
from serve.access_record import AccessRecord, Observe
from serve.metered import Metered
from serve.shelf import Shelf


@dataclass(eq=False, repr=False)
class Interface:
    """What is served, to whom and how much of it, and who is told of each request. Several may share all of that."""

    shelf: Shelf
    """What is served."""
    guard: Guard = field(default_factory=Guard)
    """Who may call."""
    limits: RequestLimits = RequestLimits()  # noqa: RUF009 - it is frozen
    """What a request may ask for."""
    observe: Observe = lambda record: None
    """Is told of each request once it is answered; must be quick."""
    draw: Callable[[], float] = random.random
    """Random numbers of [0, 1), which choose between weighted versions."""
    load: Load = field(default_factory=Load)
    """Counts the requests."""

    def identify(self, authorization: str, api_key: str, record: AccessRecord) -> Caller | None:
        """Who sends these headers, noted in the record; None where everyone may call. Raises RequestError (401)."""
        caller = self.guard.identify(authorization, api_key)
        record.caller = caller.key.name if caller else ""
        return caller

    def metered(self, caller: Caller | None, record: AccessRecord) -> Metered:
        """The shelf, as one request of this caller may use it."""
        return Metered(self.shelf, self.guard, caller, record, self.limits)
