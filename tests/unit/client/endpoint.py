"""Answers as the endpoint gives them, for a test's web server."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.web import Answer

PATH = "/v1/models/photos:predict"


def one(*labels: str, **more: Any) -> dict[str, Any]:
    """A prediction of these classes, the first the most probable."""
    return {"classes": [{"label": label, "probability": 0.5**n} for n, label in enumerate(labels, 1)], **more}


def predicted(*predictions: dict[str, Any], **more: Any) -> Answer:
    document = {
        "model": "photos",
        "version": "3",
        "request_id": "of-the-answer",
        "predictions": predictions,
        "timings_ms": {"total": 5.5, "queued": 0.25, "prepared": 1.25, "inferred": 3},
    }
    return Answer(json.dumps(document).encode(), **more)


def refused(status: int, code: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    document = {"error": f"{code}: remedy", "code": code, "request_id": "of-the-answer"}
    return Answer(json.dumps(document).encode(), status, headers=headers or {}, **more)


def heat_map(label: str, png: bytes) -> dict[str, Any]:
    return {"label": label, "png": base64.b64encode(png).decode()}
