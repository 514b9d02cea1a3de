"""The service's own protocol over HTTP: which models there are, and what they see in photographs."""

import time
from functools import partial

from serve.access_record import AccessRecord
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import HttpProtocol, Route, Tag
from serve.metered import Metered
from serve.shelf import Shelf
from serve.v1 import operations
from serve.v1.documents import ModelBody, ModelsBody, ModelWithLabelsBody, PredictionsBody, TimingsBody, VersionBody
from serve.v1.predictions import add_heat_maps, rank_classes
from serve.v1.question import read_question


async def _predict(request: HttpRequest, metered: Metered) -> HttpResponse:
    model = request.parameters["model"]
    version = metered.pick(model, request.parameters.get("version", ""))
    question = await read_question(request, metered.limits)
    coordinates = [question.coordinates] * len(question.photographs)
    version, answers = await metered.ask(version, question.photographs, coordinates)
    predictions = rank_classes(version, answers, question.top_k)
    if question.explain:
        await add_heat_maps(version, question.photographs, predictions)
    timings = _timings(metered.record)
    return HttpResponse.of(PredictionsBody(model, version.number, request.id, predictions, timings))


async def _models(request: HttpRequest, metered: Metered) -> HttpResponse:
    return HttpResponse.of(ModelsBody([_described(metered.shelf, name) for name in metered.shelf.names()]))


async def _model(request: HttpRequest, metered: Metered) -> HttpResponse:
    model = request.parameters["model"]
    labels = metered.shelf.weighted(model)[0].version.labels
    described = _described(metered.shelf, model)
    return HttpResponse.of(ModelWithLabelsBody(**{**vars(described), "labels": labels}))


def _predict_route(path: str, name: str, summary: str) -> Route:
    return Route("POST", path, _predict, partial(operations.predict, path, name, summary))


SCENES = HttpProtocol(
    tags=(Tag("predict", "Photographs in, places out."), Tag("models", "What is served.")),
    routes=(
        _predict_route("/v1/models/{model}:predict", "predict", "Name the places in photographs"),
        _predict_route("/v1/models/{model}/versions/{version}:predict", "predictByVersion", "The same by one version"),
        Route("GET", "/v1/models", _models, operations.list_models),
        Route("GET", "/v1/models/{model}", _model, operations.get_model),
    ),
)
"""Answers what is below /v1: predictions by a model and by a version, the list of models, one of them."""


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
        interpolation=first.bundle.info.preprocessing.interpolation,
        explains=first.explains,
        coordinates=first.bundle.info.takes_coordinates,
        task=first.bundle.info.task,
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
