"""From the model's answers to what a caller reads."""

import asyncio
import base64
from collections.abc import Sequence

from scenerec.data.manifest import Place
from scenerec.inference.explain.cam import NoHeatMapError, render
from scenerec.inference.predictors.classifier import Guess
from scenerec.inference.predictors.engine import Answer
from scenerec.inference.predictors.predictor import abstains
from serve.errors import ErrorKind, RequestError
from serve.loaded_version import LoadedVersion
from serve.v1.documents import ClassBody, HeatMapBody, PredictionBody

_DIGITS = 6  # of a probability: float32 has no more
_UNKNOWN = Place()


def rank_classes(version: LoadedVersion, answers: Sequence[Answer], top_k: int) -> list[PredictionBody]:
    """For each photograph its `top_k` most probable classes; or its embedding, where the version gives that."""
    rank = version.engine.classifier.rank
    info = version.bundle.info
    if info.task == "embedding":
        return [PredictionBody([], embedding=answer.logits.tolist()) for answer in answers]
    predictions = []
    for answer in answers:
        ranked = rank(answer.probabilities, top_k)
        classes = [_class(each) for each in ranked]
        place = info.places.get(classes[0].label, _UNKNOWN)
        abstained = None if info.abstain_below is None else abstains(answer.probabilities, info.abstain_below)
        given = version.engine.classifier.given_labels(answer.probabilities)
        labels = None if given is None else [_class(each) for each in given]
        predictions.append(PredictionBody(classes, place.indoor_outdoor, place.category, abstained, labels))
    return predictions


def _class(guess: Guess) -> ClassBody:
    return ClassBody(guess.label, round(guess.probability, _DIGITS))


async def add_heat_maps(
    version: LoadedVersion, photographs: Sequence[bytes], predictions: Sequence[PredictionBody]
) -> None:
    """Adds to each prediction the class activation map of its first class. Raises RequestError (422)."""
    if not version.labels:
        raise RequestError(ErrorKind.NO_HEAT_MAP, "embeddings have no heat maps: leave out `explain`")
    for photograph, prediction in zip(photographs, predictions, strict=True):
        label = prediction.classes[0].label
        try:
            heat = await asyncio.to_thread(version.heat_map, photograph, version.labels.index(label))
        except NoHeatMapError as error:
            raise RequestError(ErrorKind.NO_HEAT_MAP, f"{error}: leave out `explain`") from None
        prediction.heat_map = HeatMapBody(label, base64.b64encode(render(heat)).decode())
