"""Who judges the labels of a data set: a model those that it has not trained on, colours and textures the others."""

from collections.abc import Sequence

import numpy as np

from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.labels import Opinion, by_features, judgeable
from scenerec.inference.onlooker import Onlooker, Sight
from scenerec.inference.predictors.predictor import softmax
from scenerec.names import clean


def opinions(
    pictures: Sequence[PictureFacts], onlooker: Onlooker | None = None, sight: Sight | None = None
) -> tuple[list[Opinion], list[str]]:
    """What is thought of pictures, each judged once; and in words which could not be.

    `sight` is what the onlooker sees in those that he may judge, or more.
    """
    found: list[Opinion] = []
    remarks: list[str] = []
    for by_model in (True, False):
        some = [each for each in pictures if by_model == (onlooker is not None and each.split not in onlooker.seen)]
        judged, why = judgeable(some)
        if some and why:
            remarks.append(why)
        if judged and onlooker and sight and by_model:
            found.append(_of_model(judged, onlooker, sight))
        elif judged:
            features = np.stack([np.frombuffer(picture.features, np.float16) for picture in judged])
            found.append(by_features("colours and textures", judged, features))
    return found, remarks


def _of_model(pictures: Sequence[PictureFacts], onlooker: Onlooker, sight: Sight) -> Opinion:
    model = onlooker.model
    place = {picture.path: number for number, picture in enumerate(sight.pictures)}
    rows = [place[picture.path] for picture in pictures]
    if not onlooker.knows_classes:
        features = sight.logits if sight.embeddings is None else sight.embeddings
        return by_features(f"what {model.name} sees in them", pictures, features[rows])
    columns = {clean(label): number for number, label in enumerate(model.labels)}
    classes = tuple(sorted({picture.class_name for picture in pictures}))
    logits = sight.logits[np.ix_(rows, [columns[clean(name)] for name in classes])]
    return Opinion(model.name, tuple(pictures), classes, softmax(logits, model.temperature))
