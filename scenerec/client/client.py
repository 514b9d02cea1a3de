"""The client for code that waits. `async_client.py` mirrors it; what is not I/O is in `exchange.py` and `call.py`."""

import ssl
import time
from collections.abc import Iterable
from typing import TypeVar

import httpx

from scenerec.client import call
from scenerec.client.coordinates import Coordinates
from scenerec.client.exchange import (
    CONNECTION_LIMITS,
    LARGEST_ANSWER_BYTES,
    SEND_ERRORS,
    TOO_LARGE,
    EndpointResponse,
    Exchange,
    NoResponse,
    Outcome,
    PauseStep,
    SendStep,
    no_response,
    settings_errors,
)
from scenerec.client.prediction import Prediction
from scenerec.client.served import ServedModel

Result = TypeVar("Result")


class Client:
    """Asks an inference endpoint, again where that may help: predicting twice does no harm.

    Connections that fail or break off, and the statuses 429, 500, 502, 503 and 504, are tried again after a pause that
    doubles, with jitter, never before Retry-After, within `timeout_s`. Threads may share a client.

    Args:
        url: address of the endpoint, such as http://localhost:8000.
        api_key: the key that the endpoint asks for; None where it asks for none.
        timeout_s: seconds that each method may take, all attempts and pauses together.
        retries: attempts after the first.
        tls: for https, where the standard certificate authorities will not do.

    Raises ConfigError for an address or a key that cannot be used.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._exchange = Exchange(url, api_key, timeout_s, retries)
        with settings_errors():
            self._http = httpx.Client(verify=tls or True, limits=CONNECTION_LIMITS)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def predict(
        self,
        model: str,
        image: call.Image,
        top_k: int = 5,
        explain: bool = False,
        version: str | None = None,
        coordinates: Coordinates | None = None,
    ) -> Prediction:
        """The `top_k` most probable classes of a JPEG, PNG, WebP, GIF or BMP file.

        Args:
            model: its name at the endpoint.
            image: the file's path, or its content.
            top_k: how many classes to name.
            explain: also a heat map for the first, where the model's architecture allows.
            version: of the model, such as "3"; the endpoint chooses by its weights where it is None.
            coordinates: where and when the photograph was taken, for a model that reads it; another does without.

        Raises EndpointError, of which BadImageError is this image's fault; DataError for a file that cannot be read.
        """
        (prediction,) = self.predict_many(model, [image], top_k, explain, version, coordinates)
        return prediction

    def predict_many(
        self,
        model: str,
        images: Iterable[call.Image],
        top_k: int = 5,
        explain: bool = False,
        version: str | None = None,
        coordinates: Coordinates | None = None,
    ) -> list[Prediction]:
        """The same for several, in one request, in their order: all or none; `coordinates` are of all of them.

        Raises as `predict`.
        """
        contents = call.contents(images)
        if not contents:
            return []
        return self._run(call.predict(model, version, contents, top_k, explain, coordinates))

    def models(self) -> tuple[ServedModel, ...]:
        """What is served. Raises EndpointError."""
        return self._run(call.models())

    def ready(self) -> bool:
        """Whether all models are loaded. Raises UnreachableError where nothing answers."""
        return self._run(call.ready())

    def _run(self, wanted: call.Call[Result]) -> Result:
        steps = self._exchange.steps(wanted)
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, PauseStep):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = self._send(step)

    def _send(self, step: SendStep) -> EndpointResponse | NoResponse:
        """httpx's time-outs are of single reads: a server that sends drop by drop is left after the first late one."""
        deadline = time.monotonic() + step.remaining_s
        try:
            with self._http.stream(
                step.method, step.url, headers=step.headers, content=step.body, timeout=step.timeout
            ) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > LARGEST_ANSWER_BYTES:
                        return TOO_LARGE
                    if time.monotonic() > deadline:
                        raise TimeoutError
                return EndpointResponse(response.status_code, response.headers, bytes(content))
        except SEND_ERRORS as error:
            return no_response(error)
