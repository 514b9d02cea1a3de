"""BentoML with two workers. BUNDLE is in the environment."""

import os
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType

from tests.bench.serving_peers.model import Model


@bentoml.service(workers=2, traffic={"timeout": 60}, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Scenes:
    """Labels of one photograph; a thread of the worker computes."""

    def __init__(self) -> None:
        self.model = Model(os.environ["BUNDLE"])

    @bentoml.api
    def predict(self, image: Annotated[bytes, ContentType("image/jpeg")], /) -> dict[str, Any]:
        return self.model.answer(image)
