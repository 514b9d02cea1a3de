"""The types of ASGI 3 (asgi.readthedocs.io), the interface between servers and applications."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
"""What is known of a connection."""
Message = MutableMapping[str, Any]
"""An event of a connection, either way."""
Receive = Callable[[], Awaitable[Message]]
"""Waits for the caller's next message."""
Send = Callable[[Message], Awaitable[None]]
"""Sends a message to the caller."""
