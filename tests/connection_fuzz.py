"""Damaged bytes on connections to a running server: HTTP that is cut, badly chunked, or none at all."""

import http.client
import json
import random
import socket
import time
from collections import Counter

from tests.image_fuzz import Outcome
from tests.mutated_bodies import INFER, PREDICT, changed
from tests.patience import PATIENCE_S

_HEAD = b"POST %s HTTP/1.1\r\nhost: server\r\nconnection: close\r\n"
_BODY = b'{"images": ["aGVsbG8="]}'


def fuzz_connections(address: str, count: int, seed: int) -> Outcome:
    """Sends so many to the server at host:port, each on a connection of its own, and ends its sending.

    Each gets an answer that names a mistake, or none where the request is not complete; the server goes on.
    """
    found, outcomes = Outcome(), Counter[str]()
    for index in range(count):
        sent = _request(random.Random(f"{seed}/{index}"))
        started = time.perf_counter()
        outcome = _outcome(address, sent)
        took_s = time.perf_counter() - started
        outcomes[outcome] += 1
        if outcome.startswith("wrong"):
            found.wrong.append(f"{index}: {sent[:200]!r}: {outcome}")
        if took_s > found.slowest_s:
            found.slowest_s, found.slowest = round(took_s, 3), f"{index}: {outcome}"
    found.outcomes = dict(outcomes.most_common())
    return found


def _outcome(address: str, sent: bytes) -> str:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection)
            response.begin()
            body = response.read()
        except (http.client.BadStatusLine, ConnectionError):
            return "no answer"
        except TimeoutError:
            return "wrong: nothing happens"
    if response.status in (408, 500, 503, 504) or b"Traceback" in body:  # 408: it waited for what cannot come any more
        return f"wrong: {response.status} {body[:300]!r}"
    if response.status == 200 or not body:
        return str(response.status)
    try:
        return f"{response.status} {json.loads(body)['code']}"
    except ValueError:
        return f"{response.status} of HTTP itself"


def _request(draw: random.Random) -> bytes:
    path = draw.choice((PREDICT, INFER)).encode()
    head = _HEAD % path + draw.choice((b"", b"content-type: application/json\r\n", b"content-encoding: gzip\r\n"))
    if draw.random() < 0.5:
        half = len(_BODY) // 2
        chunks = [_BODY[:half], _BODY[half:], b""]
        body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks)
        request = head + b"transfer-encoding: chunked\r\n\r\n" + body
    else:
        request = head + b"content-length: %d\r\n\r\n" % len(_BODY) + _BODY
    return request[: draw.randrange(len(request))] if draw.random() < 0.3 else changed(draw, request)
