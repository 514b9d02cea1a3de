"""Damaged pictures against a running server."""

import http.client
import io
import json
import time
from collections import Counter

from PIL import Image

from tests.image_fuzz import ImageFuzz, draw_mutated
from tests.mutated_images import seeds

PREDICT = "/v1/models/tiny:predict"
_EXPECTED = {
    (200, ""),
    (400, "damaged_image"),
    (400, "empty_body"),
    (415, "unsupported_image"),
    (422, "too_many_pixels"),
}


def fuzz_http(address: str, count: int, seed: int) -> ImageFuzz:
    """Posts so many to the server at host:port, one after the other; each must get an answer that is documented."""
    files = seeds()
    found, outcomes = ImageFuzz(), Counter[str]()
    connection = http.client.HTTPConnection(address, timeout=60)
    for index in range(count):
        mutated = draw_mutated(seed, index, files)
        started = time.perf_counter()
        connection.request("POST", PREDICT, mutated.content, {"content-type": "image/jpeg"})
        response = connection.getresponse()
        body = response.read()
        took_s = time.perf_counter() - started
        document = json.loads(body)
        outcome = f"{response.status} {document.get('code', '')}".strip()
        outcomes[outcome] += 1
        if (response.status, document.get("code", "")) not in _EXPECTED or b"\n" in body:
            found.wrong.append(f"{index}: {mutated.seed}, {', '.join(mutated.changes)}: {body[:300]!r}")
        if took_s > found.slowest_s:
            found.slowest_s = round(took_s, 3)
            found.slowest = f"{index}: {mutated.seed}, {', '.join(mutated.changes)}: {outcome}"
    connection.close()
    found.outcomes = dict(outcomes.most_common())
    return found


def first_class(address: str, colour: str) -> str:
    """What the server says of a picture of this colour. Raises RuntimeError where it says nothing."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(buffer, "PNG")
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("POST", PREDICT, buffer.getvalue())
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {body!r}")
    return str(json.loads(body)["predictions"][0]["classes"][0]["label"])
