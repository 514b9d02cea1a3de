"""The images of a command, asked of an endpoint: several at a time, answered in their order."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from scenerec.client import (
    AsyncClient,
    BadImageError,
    Coordinates,
    EndpointError,
    OverloadedError,
    Prediction,
    RateLimitedError,
    TimedOutError,
)
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.errors import ScenerecError

IN_FLIGHT = 8
"""Images that are read or asked about at once."""

_AHEAD = 4 * IN_FLIGHT  # of the one that is told next, so that a slow one does not stop the others
_MANY = 32  # from which on a bar is worth its place
_TIMEOUT_S = 60.0  # patient: nobody waits at a screen for one image of a folder
_RETRIES = 5

Outcome = Prediction | ScenerecError


async def ask_endpoint(
    url: str,
    api_key: str | None,
    model: str,
    images: Sequence[str],
    top_k: int,
    read: Callable[[str], bytes],
    tell: Callable[[str, Outcome], None],
    locate: Callable[[str, bytes], Coordinates | None] = lambda image, content: None,
) -> None:
    """Asks an endpoint about images, and tells of each, in their order, what it says or why it has no answer.

    Args:
        url: address of the endpoint.
        api_key: what it asks for; None where it wants none.
        model: name of the model there.
        images: names of the images, which `read` understands.
        top_k: how many classes to name.
        read: returns an image's content by its name; called from threads, raises ScenerecError.
        tell: called with an image and its prediction, or the error that concerns it alone.
        locate: returns where an image was taken, by its name and content; called from threads.

    Raises:
        EndpointError: what concerns all images alike, at the first: a wrong key, an unknown model, nobody there.
        ConfigError: an address or a key that cannot be used.
    """
    turns = asyncio.Semaphore(IN_FLIGHT)
    waiting = iter(images)
    begun: deque[asyncio.Task[Outcome]] = deque()
    progress = ProgressBar("asking", "connecting")
    progress.shown = progress.shown and len(images) >= _MANY
    async with AsyncClient(url, api_key, _TIMEOUT_S, _RETRIES) as client:

        async def ask(image: str) -> Outcome:
            try:
                async with turns:
                    content = await asyncio.to_thread(read, image)
                    coordinates = await asyncio.to_thread(locate, image, content)
                    return await client.predict(model, content, top_k, coordinates=coordinates)
            except ScenerecError as error:
                return error

        try:
            with progress:
                for done, image in enumerate(images, 1):
                    while len(begun) < _AHEAD and (following := next(waiting, None)) is not None:
                        begun.append(asyncio.create_task(ask(following)))
                    outcome = await begun.popleft()
                    if isinstance(outcome, EndpointError) and _concerns_all(outcome):
                        raise outcome
                    tell(image, outcome)
                    progress.show(done, len(images))
        finally:
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)


def _concerns_all(error: EndpointError) -> bool:
    """Whether every other image would meet it too: what is neither the image's fault nor may have passed by then."""
    alone = isinstance(error, BadImageError | TimedOutError | OverloadedError | RateLimitedError)
    return not alone and (error.status or 0) < 500
