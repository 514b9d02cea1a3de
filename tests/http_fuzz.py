"""Damaged pictures and damaged requests against a running server."""

import http.client
import io
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from PIL import Image

from serve.errors import ErrorKind
from tests.image_fuzz import Outcome, draw_mutated
from tests.mutated_bodies import PREDICT, Damaged, damage
from tests.mutated_images import seeds
from tests.patience import PATIENCE_S

_OUR_FAILURES = (500, 503, 504)
_DOCUMENTED = {(kind.status, kind.code) for kind in ErrorKind}


def fuzz_pictures(address: str, count: int, seed: int) -> Outcome:
    """Posts so many damaged pictures to the server at host:port; each must get an answer that is documented."""
    files = seeds()

    def requests() -> Iterator[Damaged]:
        for index in range(count):
            found = draw_mutated(seed, index, files)
            name = f"{found.seed}, {', '.join(found.changes)}"
            yield Damaged(name, PREDICT, {"content-type": "image/jpeg"}, found.content)

    return _fuzz(address, requests())


def fuzz_bodies(address: str, count: int, seed: int) -> Outcome:
    """The same with damaged forms, JSON and tensors."""
    return _fuzz(address, (damage(random.Random(f"{seed}/{index}")) for index in range(count)))


def first_class(address: str, colour: str) -> str:
    """What the server says of a picture of this colour. Raises RuntimeError where it says nothing."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(buffer, "PNG")
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    status, body = _answer(connection, Damaged("sound", PREDICT, {}, buffer.getvalue()))
    connection.close()
    if status != 200:
        raise RuntimeError(f"{status}: {body!r}")
    return str(json.loads(body)["predictions"][0]["classes"][0]["label"])


def _fuzz(address: str, requests: Iterable[Damaged]) -> Outcome:
    """One after the other, by one connection as long as the server keeps it."""
    found, outcomes = Outcome(), Counter[str]()
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    for index, request in enumerate(requests):
        started = time.perf_counter()
        status, body = _answer(connection, request)
        took_s = time.perf_counter() - started
        code = _code(status, body)
        outcome = f"{status} {code}".strip()
        outcomes[outcome] += 1
        if code is None or status in _OUR_FAILURES or (not body and request.method != "HEAD"):
            found.wrong.append(f"{index}: {request.kind}: {status} {body[:300]!r}")
        if took_s > found.slowest_s:
            found.slowest_s, found.slowest = round(took_s, 3), f"{index}: {request.kind}: {outcome}"
    connection.close()
    found.outcomes = dict(outcomes.most_common())
    return found


def _answer(connection: http.client.HTTPConnection, request: Damaged) -> tuple[int, bytes]:
    headers: Mapping[str, str] = request.headers
    connection.request(request.method, request.path, request.body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def _code(status: int, body: bytes) -> str | None:
    """Of an error that is documented; empty for a success, None for anything else."""
    if status == 200 or not body:  # HEAD's answers have none
        return ""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    is_ours = document.keys() == {"error", "code", "request_id"} and document["error"].isprintable()
    return document["code"] if is_ours and (status, document["code"]) in _DOCUMENTED else None
