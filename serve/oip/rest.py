"""The Open Inference Protocol v2 over HTTP, as NVIDIA's tritonclient speaks it.

The sources are the specification (github.com/kserve/open-inference-protocol, inference_rest.md) and Triton's extensions
for tensors in binary and for a model's configuration, index and statistics (github.com/triton-inference-server/server,
docs/protocol).
"""

from collections.abc import Callable, Sequence

from serve.errors import ErrorKind, retry_later
from serve.http.json_body import JsonBody, adapter
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import HttpProtocol, Route, Tag
from serve.metered import Metered
from serve.oip import operations
from serve.oip.descriptions import (
    SERVER,
    describe_config,
    describe_index,
    describe_model,
    describe_statistics,
    main_version,
)
from serve.oip.documents import V2IndexedBody, V2LiveBody, V2ModelReadyBody, V2ReadyBody
from serve.oip.infer_body import read_infer_request, write_infer_answer
from serve.oip.inference import infer
from serve.oip.operations import example_config, example_model, example_statistics

Say = Callable[[Metered, str, str], JsonBody]
"""Says something of the server, of a model, or of the version of a number, as far as a path names them."""


def _ready(metered: Metered, model: str, number: str) -> V2ReadyBody:
    if not metered.shelf.names():
        raise retry_later(ErrorKind.NOT_READY, "no model is loaded yet")
    return V2ReadyBody(True)


def _model_ready(metered: Metered, model: str, number: str) -> V2ModelReadyBody:
    return _model_is_ready(main_version(metered.shelf, model, number).model)


def _model_is_ready(model: str) -> V2ModelReadyBody:
    return V2ModelReadyBody(model, True)


async def _index(request: HttpRequest, metered: Metered) -> HttpResponse:
    return HttpResponse(200, adapter(list[V2IndexedBody]).dump_json(describe_index(metered)))


async def _infer(request: HttpRequest, metered: Metered) -> HttpResponse:
    version = metered.pick(*_asked(request))
    asked = read_infer_request(version, await request.body(metered.limits), request.headers, metered.limits)
    version, outputs = await infer(version, asked, metered)
    return write_infer_answer(version, asked, outputs)


def _asked(request: HttpRequest) -> tuple[str, str]:
    """The model and the number of the version that stand in the path; "" for what does not."""
    return request.parameters.get("model", ""), request.parameters.get("version", "")


def _get(
    path: str,
    say: Say,
    name: str,
    summary: str,
    answer: str,
    example: Callable[[str], JsonBody],
    errors: Sequence[int] = (401, 404, 405, 500),
    is_open: bool = False,
) -> Route:
    """What is asked by GET, with its description: see `serve.oip.operations.get`."""

    async def respond(request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(say(metered, *_asked(request)))

    return Route("GET", path, respond, operations.get(path, name, summary, answer, example, errors), is_open)


def _infer_route(path: str, name: str, summary: str) -> Route:
    return Route("POST", path, _infer, operations.infer(path, name, summary))


_MODEL = "/v2/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_LIVE, _READY = V2LiveBody(True), V2ReadyBody(True)
_SAME = "The same of a version"
_TENSORS = "Its tensors, without the batch's axis."
_COUNTS = "Counts and times since a version was loaded by the replica that answers; each replica has its own."

OPEN_INFERENCE = HttpProtocol(
    tags=(Tag("v2", "The Open Inference Protocol, as NVIDIA's tritonclient speaks it."),),
    routes=(
        _infer_route(f"{_MODEL}/infer", "v2Infer", "Ask a model"),
        _infer_route(f"{_VERSION}/infer", "v2VersionInfer", "Ask one version"),
        _get("/v2", lambda *_: SERVER, "v2Server", "Describe the server", "The server.", lambda _: SERVER, (401, 405)),
        _get(
            "/v2/health/live",
            lambda *_: _LIVE,
            "v2Live",
            "Whether the server runs",
            "It does.",
            lambda _: _LIVE,
            errors=(405,),
            is_open=True,
        ),
        _get(
            "/v2/health/ready",
            _ready,
            "v2Ready",
            "Whether there is a model to ask",
            "There is one.",
            lambda _: _READY,
            errors=(405, 503),
            is_open=True,
        ),
        _get(_MODEL, describe_model, "v2Model", "Describe a model", "The model.", example_model),
        _get(_VERSION, describe_model, "v2Version", "Describe a version", "The model.", example_model),
        _get(f"{_MODEL}/ready", _model_ready, "v2ModelReady", "Whether a model answers", "It does.", _model_is_ready),
        _get(
            f"{_VERSION}/ready",
            _model_ready,
            "v2VersionReady",
            "Whether a version answers",
            "It does.",
            _model_is_ready,
        ),
        _get(
            f"{_MODEL}/config",
            describe_config,
            "v2Config",
            "Triton's configuration of a model",
            _TENSORS,
            example_config,
        ),
        _get(f"{_VERSION}/config", describe_config, "v2VersionConfig", _SAME, _TENSORS, example_config),
        _get(
            "/v2/models/stats",
            describe_statistics,
            "v2AllStatistics",
            "What all models were asked",
            _COUNTS,
            example_statistics,
            (401, 405),
        ),
        _get(
            f"{_MODEL}/stats",
            describe_statistics,
            "v2Statistics",
            "What a model was asked",
            _COUNTS,
            example_statistics,
        ),
        _get(f"{_VERSION}/stats", describe_statistics, "v2VersionStatistics", _SAME, _COUNTS, example_statistics),
        Route("POST", "/v2/repository/index", _index, operations.index),
    ),
)
"""Answers what is below /v2: inference, and what the server, its models and their versions say of themselves."""
