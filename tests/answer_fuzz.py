"""Damaged answers for our own client: a server that sends them, whatever is asked."""

import gzip
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from scenerec.client import Client, EndpointError
from tests.image_fuzz import Outcome
from tests.mutated_bodies import changed
from tests.patience import PATIENCE_S

_SOUND = {
    "model": "tiny",
    "version": "3",
    "request_id": "abc",
    "predictions": [{"classes": [{"label": "red", "probability": 0.9}], "category": ["nature"]}],
    "timings_ms": {"total": 5.5},
}
_ERROR = {"error": "damaged", "code": "damaged_image", "request_id": "abc"}
_HEADERS = (
    *(b"retry-after: 99999999999999999999", b"retry-after: Wed, 21 Oct 99999 07:28:30 GMT", b"retry-after: \xe9"),
    *(b"location: http://[::1", b"location: //", b"location: http://\xff/", b"location: javascript:1"),
    *(
        b"content-encoding: gzip",
        b"content-encoding: br",
        b"content-type: text/html; charset=utf-99",
        b"set-cookie: =\xff",
    ),
)
_STATUSES = (*(b"200",) * 6, b"301", b"307", b"400", b"401", b"404", b"429", b"500", b"503", b"204", b"999", b"100")


def fuzz_answers(times: int, seed: int) -> Outcome:
    """Asks so often; what comes is an answer of our own types, or an EndpointError in one line."""
    found, outcomes = Outcome(), Counter[str]()
    with serve_damaged(seed) as address, Client(f"http://{address}", timeout_s=PATIENCE_S, retries=0) as client:
        for index in range(times):
            started = time.perf_counter()
            try:
                client.predict("tiny", b"picture")
                outcome, problem = "answer", ""
            except EndpointError as error:
                message = str(error)
                outcome = type(error).__name__
                problem = "" if message.isprintable() and 0 < len(message) < 1500 else f"says {message[:300]!r}"
            except Exception as error:
                outcome, problem = type(error).__name__, repr(error)
            took_s = time.perf_counter() - started
            outcomes[outcome] += 1
            if problem:
                found.wrong.append(f"{index}: {problem[:500]}")
            if took_s > found.slowest_s:
                found.slowest_s, found.slowest = round(took_s, 3), f"{index}: {outcome}"
    found.outcomes = dict(outcomes.most_common())
    return found


def _answer(draw: random.Random) -> bytes:
    document = json.dumps(draw.choice((_SOUND, _SOUND, _SOUND, _ERROR))).encode()
    body = changed(draw, document) if draw.random() < 0.7 else document
    headers = draw.sample(_HEADERS, draw.choice((0, 0, 1, 2)))
    if b"content-encoding: gzip" in headers and draw.random() < 0.8:
        body = gzip.compress(body, mtime=0)
        body = changed(draw, body) if draw.random() < 0.5 else body
    if draw.random() < 0.2:
        head, framed = b"transfer-encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        head, framed = b"content-length: %d" % (len(body) + draw.choice((0, 0, 0, 0, 1, -1))), body
    whole = b"\r\n".join((b"HTTP/1.1 " + draw.choice(_STATUSES) + b" OK", head, *headers, b"", framed))
    if draw.random() < 0.2:
        return changed(draw, whole)
    return whole[: draw.randrange(len(whole))] if draw.random() < 0.1 else whole


@contextmanager
def serve_damaged(seed: int) -> Iterator[str]:
    """Sends one answer on each connection, and closes it. A client may leave its end open until it is collected."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):  # it listens no more
                for index in count():
                    connection, _ = listening.accept()
                    threading.Thread(target=answer, args=(connection, index), daemon=True).start()

        def answer(connection: socket.socket, index: int) -> None:
            with suppress(OSError), connection:
                connection.recv(65_536)
                connection.sendall(_answer(random.Random(f"{seed}/{index}")))
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65_536)  # until the client is done

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # which wakes the thread; closing it would not
            thread.join()
