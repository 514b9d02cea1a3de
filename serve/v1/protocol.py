"""The service's own protocol over HTTP: which models there are, and what they see in photographs."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from serve.access_record import AccessRecord
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import Route, Tag
from serve.metered import Metered
from serve.shelf import Shelf
from serve.v1 import operations
from serve.v1.documents import ModelBody, ModelsBody, ModelWithLabelsBody, PredictionsBody, TimingsBody, VersionBody
from serve.v1.predictions import add_heat_maps, rank_classes
from serve.v1.question import read_question


class SceneProtocol:
    """Answers what is below /v1.

    Args:
        shelf: what is served.
        draw: random numbers of [0, 1), which choose between weighted versions.
    """

    tags: Sequence[Tag] = (Tag("predict", "Photographs in, places out."), Tag("models", "What is served."))

    def __init__(self, shelf: Shelf, draw: Callable[[], float]) -> None:
        self._shelf = shelf
        self._draw = draw

    def routes(self) -> Sequence[Route]:
        """Predictions by a model and by a version, the list of models, one of them."""
        return (
            self._predict_route("/v1/models/{model}:predict", "predict", "Name the places in photographs"),
            self._predict_route(
                "/v1/models/{model}/versions/{version}:predict", "predictByVersion", "The same by one version"
            ),
            Route("GET", "/v1/models", self._models, operations.list_models),
            Route("GET", "/v1/models/{model}", self._model, operations.get_model),
        )

    def _predict_route(self, path: str, name: str, summary: str) -> Route:
        return Route("POST", path, self._predict, partial(operations.predict, path, name, summary))

    async def _predict(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        model = request.parameters["model"]
        version = self._shelf.pick(model, self._draw(), request.parameters.get("version", ""))
        question = await read_question(request, metered.limits)
        version, answers = await metered.ask(version, question.photographs)
        predictions = rank_classes(version, answers, question.top_k)
        if question.explain:
            await add_heat_maps(version, question.photographs, predictions)
        timings = _timings(metered.record)
        return HttpResponse.of(PredictionsBody(model, version.number, request.id, predictions, timings))

    async def _models(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(ModelsBody([_described(self._shelf, name) for name in self._shelf.names()]))

    async def _model(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        model = request.parameters["model"]
        labels = self._shelf.weighted(model)[0].version.labels
        described = _described(self._shelf, model)
        return HttpResponse.of(ModelWithLabelsBody(**{**vars(described), "labels": labels}))


def _described(shelf: Shelf, model: str) -> ModelBody:
    """A served model. Raises NotServedError."""
    weighted = shelf.weighted(model)
    first = weighted[0].version
    return ModelBody(
        name=model,
        versions=[
            VersionBody(
                version=each.version.number,
                weight=each.weight,
                url=each.version.bundle.url,
                precision=each.version.bundle.info.precision,
                arch=each.version.bundle.info.lineage.arch,
            )
            for each in weighted
        ],
        image_size=first.image_size,
        eval_crop_ratio=first.bundle.info.preprocessing.eval_crop_ratio,
        explains=first.explains,
        labels=len(first.labels),
    )


def _timings(record: AccessRecord) -> TimingsBody:
    """Where the time of a request has gone so far."""
    return TimingsBody(
        total=round((time.perf_counter() - record.started_at) * 1e3, 2),
        queued=round(record.queued_s * 1e3, 2),
        prepared=round(record.prepared_s * 1e3, 2),
        inferred=round(record.inferred_s * 1e3, 2),
    )
