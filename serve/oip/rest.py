"""The Open Inference Protocol v2 over HTTP, as NVIDIA's tritonclient speaks it.

The sources are the specification (github.com/kserve/open-inference-protocol, inference_rest.md) and Triton's extensions
for tensors in binary and for a model's configuration, index and statistics (github.com/triton-inference-server/server,
docs/protocol).
"""

from collections.abc import Callable, Sequence

from scenerec import __version__
from serve.errors import ErrorKind, retry_later
from serve.http.json_body import adapter
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import Route, Tag
from serve.loaded_version import LoadedVersion
from serve.metered import Metered
from serve.oip import operations
from serve.oip.documents import (
    V2AllStatisticsBody,
    V2ConfigBody,
    V2ConfiguredTensorBody,
    V2DurationBody,
    V2IndexedBody,
    V2InferStatisticsBody,
    V2LiveBody,
    V2ModelBody,
    V2ModelReadyBody,
    V2ParameterBody,
    V2ReadyBody,
    V2ServerBody,
    V2StatisticsBody,
    V2TensorMetadataBody,
)
from serve.oip.infer_body import read_infer_request, write_infer_answer
from serve.oip.inference import (
    BACKEND,
    EXTENSIONS,
    PLATFORM,
    READY,
    SERVER,
    Inference,
    ModelDescription,
    VersionStatistics,
)
from serve.oip.tensors import TensorSpec
from serve.shelf import Shelf

_MODEL = "/v2/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_EXAMPLE = "/versions/1"
"""Where a version is below its model's address, in examples."""


class InferenceProtocol:
    """Answers what is below /v2.

    Args:
        shelf: what is served.
        draw: random numbers of [0, 1), which choose between weighted versions.
    """

    tags: Sequence[Tag] = (Tag("v2", "The Open Inference Protocol, as NVIDIA's tritonclient speaks it."),)

    def __init__(self, shelf: Shelf, draw: Callable[[], float]) -> None:
        self._inference = Inference(shelf, draw)

    def routes(self) -> Sequence[Route]:
        """Inference, and what the server, its models and their versions say of themselves."""
        infer, metadata, ready, config = self._infer, self._model, self._model_ready, self._config
        stats = self._statistics
        return (
            Route("POST", f"{_MODEL}/infer", infer, operations.infer("v2Infer")),
            Route("POST", f"{_VERSION}/infer", infer, operations.infer("v2VersionInfer", _EXAMPLE)),
            Route("GET", "/v2", self._server, operations.server),
            Route("GET", "/v2/health/live", self._live, operations.live, is_open=True),
            Route("GET", "/v2/health/ready", self._ready, operations.ready, is_open=True),
            Route("GET", _MODEL, metadata, operations.metadata("v2Model")),
            Route("GET", _VERSION, metadata, operations.metadata("v2Version", _EXAMPLE)),
            Route("GET", f"{_MODEL}/ready", ready, operations.model_ready("v2ModelReady")),
            Route("GET", f"{_VERSION}/ready", ready, operations.model_ready("v2VersionReady", _EXAMPLE)),
            Route("GET", f"{_MODEL}/config", config, operations.configuration("v2Config")),
            Route("GET", f"{_VERSION}/config", config, operations.configuration("v2VersionConfig", _EXAMPLE)),
            Route("GET", "/v2/models/stats", stats, operations.all_statistics),
            Route("GET", f"{_MODEL}/stats", stats, operations.statistics("v2Statistics")),
            Route("GET", f"{_VERSION}/stats", stats, operations.statistics("v2VersionStatistics", _EXAMPLE)),
            Route("POST", "/v2/repository/index", self._index, operations.index),
        )

    async def _server(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(V2ServerBody(SERVER, __version__, EXTENSIONS))

    async def _live(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(V2LiveBody(True))

    async def _ready(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        if not self._inference.is_ready:
            raise retry_later(ErrorKind.NOT_READY, "no model is loaded yet")
        return HttpResponse.of(V2ReadyBody(True))

    async def _model(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        described = self._describe(request)
        return HttpResponse.of(
            V2ModelBody(
                name=described.name,
                versions=described.versions,
                platform=PLATFORM,
                inputs=[_metadata(described.input)],
                outputs=[_metadata(described.output)],
            )
        )

    async def _model_ready(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse.of(V2ModelReadyBody(self._describe(request).name, True))

    async def _config(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        described = self._describe(request)
        image, output = described.input, described.output
        return HttpResponse.of(
            V2ConfigBody(
                name=described.name,
                platform=PLATFORM,
                backend=BACKEND,
                max_batch_size=metered.limits.images,
                input=[V2ConfiguredTensorBody(image.name, "TYPE_UINT8", image.shape[1:], "FORMAT_NHWC")],
                output=[V2ConfiguredTensorBody(output.name, "TYPE_FP32", output.shape[1:])],
                parameters={name: V2ParameterBody(text) for name, text in described.further.items()},
            )
        )

    async def _index(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        index = [V2IndexedBody(each.model, each.number, READY, "") for each in self._inference.served("", "")]
        return HttpResponse(200, adapter(list[V2IndexedBody]).dump_json(index))

    async def _statistics(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        model, number = (request.parameters.get(name, "") for name in ("model", "version"))
        return HttpResponse.of(
            V2AllStatisticsBody([_statistics_of(version) for version in self._inference.served(model, number)])
        )

    async def _infer(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        version = self._inference.pick(request.parameters["model"], request.parameters.get("version"))
        asked = read_infer_request(version, await request.body(metered.limits), request.headers, metered.limits)
        version, outputs = await self._inference.infer(version, asked, metered)
        return write_infer_answer(version, asked, outputs)

    def _describe(self, request: HttpRequest) -> ModelDescription:
        return self._inference.describe(request.parameters["model"], request.parameters.get("version"))


def _metadata(spec: TensorSpec) -> V2TensorMetadataBody:
    return V2TensorMetadataBody(spec.name, spec.datatype, spec.shape)


def _statistics_of(version: LoadedVersion) -> V2StatisticsBody:
    described = VersionStatistics.of(version)
    durations = {name: V2DurationBody(*duration) for name, duration in described.durations.items()}
    return V2StatisticsBody(
        name=version.model,
        version=version.number,
        last_inference=described.last_ms,
        inference_count=described.images,
        execution_count=described.batches,
        inference_stats=V2InferStatisticsBody(**durations),
    )
