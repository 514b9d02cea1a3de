"""From the model's answers to what a caller reads."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

from scenerec.inference.explain.cam import NoHeatMapError, render
from scenerec.inference.predictors.engine import Answer
from serve.errors import RequestError
from serve.shelf import LoadedVersion
from serve.v1.question import Question

_DIGITS = 6  # of a probability: float32 has no more


def predictions(version: LoadedVersion, answers: Sequence[Answer], top_k: int) -> list[dict[str, Any]]:
    """For each photograph its `top_k` most probable classes."""
    rank = version.engine.classifier.rank
    places = version.info.places
    found = []
    for answer in answers:
        classes = rank(answer.probabilities, top_k)
        document: dict[str, Any] = {
            "classes": [{"label": each.label, "probability": round(each.probability, _DIGITS)} for each in classes]
        }
        if place := places.get(classes[0].label):
            document |= place.model_dump(exclude_defaults=True)
        found.append(document)
    return found


async def add_heat_maps(version: LoadedVersion, question: Question, found: Sequence[dict[str, Any]]) -> None:
    """Adds to each prediction the class activation map of its first class. Raises RequestError (422)."""
    for photograph, document in zip(question.photographs, found, strict=True):
        label = document["classes"][0]["label"]
        try:
            heat = await asyncio.to_thread(version.heat_map, photograph, version.labels.index(label))
        except NoHeatMapError as error:
            raise RequestError(422, "no_heat_map", f"{error}: leave out `explain`") from None
        document["heat_map"] = {"label": label, "png": base64.b64encode(render(heat)).decode()}
