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
from serve.http.route import Respond, Route, Tag
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
from serve.shelf import Shelf

_MODEL = "/v2/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"

_LIVE, _READY = V2LiveBody(True), V2ReadyBody(True)
_COUNTS = "Counts and times since a version was loaded by the replica that answers; each replica has its own."


class InferenceProtocol:
    """Answers what is below /v2.

    Args:
        shelf: what is served.
        draw: random numbers of [0, 1), which choose between weighted versions.
    """

    tags: Sequence[Tag] = (Tag("v2", "The Open Inference Protocol, as NVIDIA's tritonclient speaks it."),)

    def __init__(self, shelf: Shelf, draw: Callable[[], float]) -> None:
        self._shelf = shelf
        self._draw = draw

    def routes(self) -> Sequence[Route]:
        """Inference, and what the server, its models and their versions say of themselves."""
        ready, config, stats = self._model_ready, self._config, self._statistics
        same, tensors = "The same of a version", "Its tensors, without the batch's axis."
        return (
            _infer_route(_MODEL, self._infer, "v2Infer", "Ask a model"),
            _infer_route(_VERSION, self._infer, "v2VersionInfer", "Ask one version"),
            _get(
                "/v2", self._server, "v2Server", "Describe the server", "The server.", lambda model: SERVER, (401, 405)
            ),
            _get(
                "/v2/health/live",
                self._live,
                "v2Live",
                "Whether the server runs",
                "It does.",
                lambda _: _LIVE,
                (405,),
                is_open=True,
            ),
            _get(
                "/v2/health/ready",
                self._ready,
                "v2Ready",
                "Whether there is a model to ask",
                "There is one.",
                lambda _: _READY,
                (405, 503),
                is_open=True,
            ),
            _get(_MODEL, self._model, "v2Model", "Describe a model", "The model.", example_model),
            _get(_VERSION, self._model, "v2Version", "Describe a version", "The model.", example_model),
            _get(f"{_MODEL}/ready", ready, "v2ModelReady", "Whether a model answers", "It does.", _model_is_ready),
            _get(
                f"{_VERSION}/ready", ready, "v2VersionReady", "Whether a version answers", "It does.", _model_is_ready
            ),
            _get(f"{_MODEL}/config", config, "v2Config", "Triton's configuration of a model", tensors, example_config),
            _get(f"{_VERSION}/config", config, "v2VersionConfig", same, tensors, example_config),
            _get(
                "/v2/models/stats",
                stats,
                "v2AllStatistics",
                "What all models were asked",
                _COUNTS,
                example_statistics,
                (401, 405),
            ),
            _get(f"{_MODEL}/stats", stats, "v2Statistics", "What a model was asked", _COUNTS, example_statistics),
            _get(f"{_VERSION}/stats", stats, "v2VersionStatistics", same, _COUNTS, example_statistics),
            Route("POST", "/v2/repository/index", self._index, operations.index),
        )

    async def _server(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(SERVER)

    async def _live(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(_LIVE)

    async def _ready(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        if not self._shelf.names():
            raise retry_later(ErrorKind.NOT_READY, "no model is loaded yet")
        return HttpResponse.of(_READY)

    async def _model(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(describe_model(self._shelf, *_asked(request)))

    async def _model_ready(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(_model_is_ready(main_version(self._shelf, *_asked(request)).model))

    async def _config(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(describe_config(self._shelf, *_asked(request), metered.limits.images))

    async def _index(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse(200, adapter(list[V2IndexedBody]).dump_json(describe_index(self._shelf)))

    async def _statistics(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(describe_statistics(self._shelf, *_asked(request)))

    async def _infer(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        model, number = _asked(request)
        version = self._shelf.pick(model, self._draw(), number)
        asked = read_infer_request(version, await request.body(metered.limits), request.headers, metered.limits)
        version, outputs = await infer(version, asked, metered)
        return write_infer_answer(version, asked, outputs)


def _asked(request: HttpRequest) -> tuple[str, str]:
    """The model and the number of the version that stand in the path; "" for what does not."""
    return request.parameters.get("model", ""), request.parameters.get("version", "")


def _model_is_ready(model: str) -> V2ModelReadyBody:
    return V2ModelReadyBody(model, True)


def _get(
    path: str,
    respond: Respond,
    name: str,
    summary: str,
    answer: str,
    example: Callable[[str], JsonBody],
    errors: Sequence[int] = (401, 404, 405, 500),
    is_open: bool = False,
) -> Route:
    """What is asked by GET, with its description: see `serve.oip.operations.get`."""
    return Route("GET", path, respond, operations.get(path, name, summary, answer, example, errors), is_open)


def _infer_route(path: str, respond: Respond, name: str, summary: str) -> Route:
    return Route("POST", f"{path}/infer", respond, operations.infer(f"{path}/infer", name, summary))
