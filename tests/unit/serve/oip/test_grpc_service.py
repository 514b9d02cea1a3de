"""The protocol over gRPC, on a real grpc.aio server: status codes, metadata, keys, and tensors that are not raw."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from scenerec.inference.predictors.engine import ExpiredError, OverloadedError
from serve.access.admission import RequestLimits
from serve.access.keys import ApiKeys, Guard, new_key
from serve.access_record import AccessRecord
from serve.errors import ErrorKind, RequestError, retry_later
from serve.loaded_version import EngineOptions
from serve.oip.grpc_methods import METHODS, REFUSED, SERVICE, STREAM, add_to_server
from serve.oip.grpc_service import GrpcInference
from serve.oip.proto import inference_pb2 as pb
from serve.shelf import Shelf
from tests.tiny_bundle import IMAGE_SIZE, LABELS
from tests.tiny_shelf import make_tiny_shelf

Call = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    made = make_tiny_shelf(tmp_path_factory.mktemp("shelf"), EngineOptions(max_queue=4))
    yield made
    for version in made.versions():
        version.engine.close()


def talk(inference: Any, conversation: Callable[[Call], Awaitable[Any]]) -> Any:
    """Serves `inference` while `conversation` calls it: `await call("ModelInfer", request, metadata)`."""

    async def run() -> Any:
        server = grpc.aio.server()
        add_to_server(inference, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

                def call(method: str, request: Any, metadata: Any = None) -> Any:
                    response = METHODS[method][1]
                    return channel.unary_unary(
                        f"/{SERVICE}/{method}",
                        request_serializer=lambda message: message.SerializeToString(),
                        response_deserializer=response.FromString,
                    )(request, metadata=metadata)

                return await conversation(call)
        finally:
            await server.stop(None)

    return asyncio.run(run())


def ask(inference: Any, method: str, request: Any, *metadata: tuple[str, str]) -> Any:
    async def conversation(call: Call) -> Any:
        return await call(method, request, metadata)

    return talk(inference, conversation)


def error_of(inference: Any, request: Any, *metadata: tuple[str, str], method: str = "ModelInfer") -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        ask(inference, method, request, *metadata)
    return caught.value


def black(count: int = 1, **entries: Any) -> pb.ModelInferRequest:
    shape = [count, IMAGE_SIZE, IMAGE_SIZE, 3]
    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=shape)
    raw = bytes(int(np.prod(shape)))
    return pb.ModelInferRequest(**{"model_name": "tiny", "inputs": [tensor], "raw_input_contents": [raw], **entries})


def test_every_method_of_the_protocol_is_served(shelf):
    async def conversation(call: Call) -> list[Any]:
        named = {"name": "tiny"}
        requests = {"ModelReady": named, "ModelMetadata": named, "ModelConfig": named}
        answers = [
            await call(method, request(**requests.get(method, {})))
            for method, (request, _) in METHODS.items()
            if method != "ModelInfer"
        ]
        return [*answers, await call("ModelInfer", black())]

    live, ready, model_ready, server, model, config, statistics, index, answer = talk(
        GrpcInference(shelf), conversation
    )
    assert live.live and ready.ready and model_ready.ready
    assert server.name == "scenerec"
    assert list(model.versions) == ["2", "1"]
    assert (config.config.name, config.config.max_batch_size) == ("tiny", 64)
    assert [(each.name, each.version) for each in statistics.model_stats] == [("tiny", "2"), ("tiny", "1")]
    assert [(each.name, each.version, each.state) for each in index.models] == [
        ("tiny", "2", "READY"),
        ("tiny", "1", "READY"),
    ]
    assert [output.name for output in answer.outputs] == ["probabilities", "logits"]


def raw_call(inference: Any, method: str, *sent: bytes, metadata: Any = None) -> list[bytes]:
    """What a method answers to bytes, which need be no message."""

    async def run() -> list[bytes]:
        server = grpc.aio.server()
        add_to_server(inference, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                path = f"/{SERVICE}/{method}"
                if method == STREAM:
                    return [each async for each in channel.stream_stream(path)(iter(sent), metadata=metadata)]
                return [await channel.unary_unary(path)(sent[0], metadata=metadata)]
        finally:
            await server.stop(None)

    return asyncio.run(run())


NO_MESSAGE = b"\xff\xff"


@pytest.mark.parametrize("method", [name for name in (*METHODS, *REFUSED) if name not in ("ServerLive", "ServerReady")])
def test_what_is_no_message_is_the_callers_fault(shelf, method):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        raw_call(GrpcInference(shelf), method, NO_MESSAGE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "2 bytes that are not this method's message"


def test_a_stream_says_what_is_no_message_and_goes_on(shelf):
    answers = raw_call(GrpcInference(shelf), STREAM, NO_MESSAGE, black().SerializeToString())
    first, second = map(pb.ModelStreamInferResponse.FromString, answers)
    assert first.error_message == "2 bytes that are not this method's message"
    assert second.error_message == "" and second.infer_response.model_name == "tiny"


@pytest.mark.parametrize("method", REFUSED)
def test_what_triton_alone_has_is_unimplemented_and_says_why(shelf, method):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        raw_call(GrpcInference(shelf), method, b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == f"{method}: {REFUSED[method]}"


def test_every_method_but_the_probes_needs_a_key_where_there_are_keys(shelf):
    key, entry = new_key("a")
    inference = GrpcInference(shelf, Guard(ApiKeys(keys=(entry,))))
    for method in (*METHODS, *REFUSED):
        if method in ("ServerLive", "ServerReady"):
            assert raw_call(inference, method, b"") == [b"\x08\x01"]
            continue
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            raw_call(inference, method, b"")
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED, method
    (refused,) = raw_call(inference, STREAM, black().SerializeToString())
    assert "asks for an API key" in pb.ModelStreamInferResponse.FromString(refused).error_message
    (answered,) = raw_call(inference, STREAM, black().SerializeToString(), metadata=(("x-api-key", key),))
    assert pb.ModelStreamInferResponse.FromString(answered).infer_response.model_name == "tiny"


def test_a_long_name_is_quoted_in_part(shelf):
    error = error_of(GrpcInference(shelf), black(model_name="x" * 1_000_000))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert len(error.details()) < 200


def test_nothing_to_serve_is_not_ready():
    assert not ask(GrpcInference(Shelf()), "ServerReady", pb.ServerReadyRequest()).ready


def test_contents_do_instead_of_raw_contents(shelf):
    known = shelf.pick("tiny", 0.0).bundle.golden
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="images",
        datatype="UINT8",
        shape=known.images.shape,
        contents=pb.InferTensorContents(uint_contents=known.images.ravel().tolist()),
    )
    answer = ask(GrpcInference(shelf), "ModelInfer", pb.ModelInferRequest(model_name="tiny", inputs=[tensor]))
    logits = np.frombuffer(answer.raw_output_contents[1], "<f4").reshape(-1, len(LABELS))
    np.testing.assert_allclose(logits, known.logits, rtol=1e-5)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"inputs": []}, "0 inputs: send one"),
        ({"raw_input_contents": [b"x" * 192, b"y"]}, "2 raw_input_contents for 1 input"),
        ({"raw_input_contents": [b"x" * 191]}, "images: has 191 bytes"),
        ({"raw_input_contents": []}, "images: has 0 values; shape [1, 8, 8, 3] has 192"),
        ({"parameters": {"timeout": pb.InferParameter(string_param="soon")}}, "timeout: must be"),
    ],
)
def test_what_is_wrong_is_an_invalid_argument(shelf, entries, message):
    error = error_of(GrpcInference(shelf), black(**entries))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.details()


def test_both_kinds_of_contents_are_one_too_many(shelf):
    request = black()
    request.inputs[0].contents.uint_contents.append(1)
    assert "has both" in error_of(GrpcInference(shelf), request).details()


def test_what_is_not_served_is_not_found(shelf):
    request = pb.ModelMetadataRequest(name="other")
    error = error_of(GrpcInference(shelf), request, method="ModelMetadata")
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert dict(error.trailing_metadata())["error-code"] == "unknown_model"
    assert not ask(GrpcInference(shelf), "ModelReady", pb.ModelReadyRequest(name="other")).ready


def test_a_request_beyond_the_limits_exhausts_resources(shelf):
    for limits, request in ((RequestLimits(images=2), black(3)), (RequestLimits(body_bytes=100), black())):
        error = error_of(GrpcInference(shelf, limits=limits), request)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_caller_needs_a_key_where_there_are_keys(shelf):
    key, entry = new_key("a", images_per_s=0.01, burst=1)
    inference = GrpcInference(shelf, Guard(ApiKeys(keys=(entry,))))
    error = error_of(inference, black())
    assert error.code() == grpc.StatusCode.UNAUTHENTICATED
    assert error_of(inference, black(), ("x-api-key", "wrong")).code() == grpc.StatusCode.UNAUTHENTICATED
    assert error_of(inference, pb.ModelMetadataRequest(name="tiny"), method="ModelMetadata").code() == error.code()
    assert error_of(inference, pb.ServerMetadataRequest(), method="ServerMetadata").code() == error.code()
    assert ask(inference, "ServerLive", pb.ServerLiveRequest()).live
    assert ask(inference, "ModelInfer", black(), ("authorization", f"Bearer {key}")).model_name == "tiny"
    error = error_of(inference, black(), ("x-api-key", key))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(error.trailing_metadata())["retry-after"]) > 0


def test_a_busy_model_is_unavailable_and_says_when_to_come_again(tmp_path):
    shelf = make_tiny_shelf(tmp_path, EngineOptions(max_queue=2, max_batch=1))
    inference = GrpcInference(shelf)
    count = 40

    async def conversation(call: Call) -> list[Any]:
        return await asyncio.gather(*(call("ModelInfer", black(2)) for _ in range(count)), return_exceptions=True)

    outcomes = talk(inference, conversation)
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {error.code() for error in refused} <= {grpc.StatusCode.UNAVAILABLE}
    assert all(dict(error.trailing_metadata())["retry-after"] == "1" for error in refused)
    assert len(refused) < count
    for version in shelf.versions():
        version.engine.close()


def test_each_request_is_observed_with_its_id(shelf):
    records: list[AccessRecord] = []
    inference = GrpcInference(shelf, observe=records.append)

    async def conversation(call: Call) -> Any:
        answered = call("ModelInfer", black(2), (("x-request-id", "q-7"), ("traceparent", "00-a-b-01")))
        await answered
        return await answered.trailing_metadata()

    assert dict(talk(inference, conversation))["x-request-id"] == "q-7"
    (record,) = records
    assert (record.request_id, record.trace, record.model, record.images) == ("q-7", "00-a-b-01", "tiny", 2)
    assert (record.status, record.code, record.batch_size) == (200, "", 2)
    error_of(inference, black(model_name="other"))
    assert (records[1].status, records[1].code) == (404, "unknown_model")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OverloadedError("busy"), grpc.StatusCode.UNAVAILABLE),
        (ExpiredError("too late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (retry_later(ErrorKind.RATE_LIMITED, "slower"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (RequestError(ErrorKind.TOO_MANY_PIXELS, "too large"), grpc.StatusCode.INVALID_ARGUMENT),
        (KeyError("a secret of the server"), grpc.StatusCode.INTERNAL),
    ],
)
def test_every_error_has_a_code_and_none_a_trace(shelf, error, code):
    def draw() -> float:
        raise error

    found = error_of(GrpcInference(shelf, draw=draw), black())
    assert found.code() == code
    assert "secret" not in found.details()
