"""NVIDIA's own client against our server, by HTTP and by gRPC; the server is a process of its own."""

import asyncio
import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as by_grpc
import tritonclient.grpc.aio as by_grpc_aio
import tritonclient.http as by_http
import tritonclient.http.aio as by_http_aio
from google.protobuf.json_format import MessageToDict
from PIL import Image
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.predictors.predictor import softmax
from tests.tiny_bundle import IMAGE_SIZE, LABELS

NEWEST, OLDER = "2", "1"


@dataclass(frozen=True)
class Served:
    """A running server and what it must answer."""

    http: str
    """host:port"""
    grpc: str
    bundles: dict[str, Bundle]
    """By version."""

    def golden(self, version: str = NEWEST) -> tuple[np.ndarray, np.ndarray]:
        """Images and logits."""
        golden = self.bundles[version].golden
        return golden.images, golden.logits


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "tests.tiny_server", str(folder)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        bundles = {version: open_bundle(str(folder / version)) for version in (NEWEST, OLDER)}
        yield Served(f"127.0.0.1:{ports['http']}", f"127.0.0.1:{ports['grpc']}", bundles)
        process.communicate()
    assert process.returncode == 0


@dataclass(frozen=True)
class Transport:
    """tritonclient, by one of its two transports."""

    module: ModuleType
    client: Any

    def input(self, name: str, values: np.ndarray, datatype: str, **binary: bool) -> Any:
        tensor = self.module.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, **binary)
        return tensor

    def images(self, images: np.ndarray) -> list[Any]:
        return [self.input("images", images, "UINT8")]

    def metadata(self) -> Any:
        found = self.client.get_model_metadata("tiny")
        return found if isinstance(found, dict) else by_grpc_as_dict(found)


def by_grpc_as_dict(metadata: Any) -> dict[str, Any]:
    return {
        "name": metadata.name,
        "versions": list(metadata.versions),
        "platform": metadata.platform,
        **{
            kind: [
                {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}
                for each in getattr(metadata, kind)
            ]
            for kind in ("inputs", "outputs")
        },
    }


@pytest.fixture(params=["http", "grpc"])
def triton(served: Served, request: pytest.FixtureRequest) -> Iterator[Transport]:
    if request.param == "http":
        client: Any = by_http.InferenceServerClient(served.http, concurrency=8)
        yield Transport(by_http, client)
    else:
        client = by_grpc.InferenceServerClient(served.grpc)
        yield Transport(by_grpc, client)
    client.close()


@pytest.fixture
def http(served: Served) -> Iterator[Transport]:
    client = by_http.InferenceServerClient(served.http)
    yield Transport(by_http, client)
    client.close()


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def photographs(images: np.ndarray) -> np.ndarray:
    """Each as a PNG of the network's own size, which preparation leaves as it is."""
    return np.array([png(image) for image in images], dtype=np.object_)


def same(answer: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)


def test_the_server_is_alive_and_ready(triton):
    assert triton.client.is_server_live()
    assert triton.client.is_server_ready()
    assert triton.client.is_model_ready("tiny")
    assert triton.client.is_model_ready("tiny", OLDER)
    assert not triton.client.is_model_ready("tiny", "9")
    assert not triton.client.is_model_ready("other")


def test_the_server_says_what_it_is(triton):
    found = triton.client.get_server_metadata()
    name, extensions = (
        (found["name"], found["extensions"]) if isinstance(found, dict) else (found.name, found.extensions)
    )
    assert name == "scenerec"
    assert set(extensions) == {"binary_tensor_data", "classification", "model_configuration", "statistics"}


def test_a_model_says_what_it_takes(triton):
    found = triton.metadata()
    assert (found["name"], set(found["versions"])) == ("tiny", {NEWEST, OLDER})
    assert found["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, IMAGE_SIZE, IMAGE_SIZE, 3]}]
    assert found["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, len(LABELS)]}]


def test_prepared_images_get_the_golden_logits(triton, served):
    images, logits = served.golden()
    answer = triton.client.infer("tiny", triton.images(images))
    same(answer.as_numpy("logits"), logits)
    same(answer.as_numpy("probabilities"), softmax(logits))


def test_photographs_get_the_golden_logits(triton, served):
    images, logits = served.golden()
    answer = triton.client.infer("tiny", [triton.input("photographs", photographs(images), "BYTES")])
    same(answer.as_numpy("logits"), logits)


def test_a_version_can_be_named(triton, served):
    for version in (OLDER, NEWEST):
        images, logits = served.golden(version)
        answer = triton.client.infer("tiny", triton.images(images), model_version=version)
        same(answer.as_numpy("logits"), logits)
        response = answer.get_response()
        assert (response["model_version"] if isinstance(response, dict) else response.model_version) == version


def test_only_what_is_asked_for_comes_and_the_id_comes_back(triton, served):
    images, logits = served.golden()
    outputs = [triton.module.InferRequestedOutput("logits")]
    answer = triton.client.infer("tiny", triton.images(images), outputs=outputs, request_id="q-1", timeout=5_000_000)
    same(answer.as_numpy("logits"), logits)
    assert answer.as_numpy("probabilities") is None
    response = answer.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "q-1"


def test_the_best_classes_come_as_text(triton, served):
    images, logits = served.golden()
    outputs = [triton.module.InferRequestedOutput("logits", class_count=2)]
    answer = triton.client.infer("tiny", triton.images(images), outputs=outputs).as_numpy("logits")
    assert answer.shape == (len(images), 2)
    for row, texts in zip(logits, answer, strict=True):
        best = np.argsort(-row)[:2]
        assert [text.decode() for text in texts] == [f"{row[index]:f}:{index}:{LABELS[index]}" for index in best]


def test_tensors_go_and_come_as_json_too(http, served):
    images, logits = served.golden()
    outputs = [by_http.InferRequestedOutput("logits", binary_data=False)]
    prepared = http.input("images", images, "UINT8", binary_data=False)
    same(http.client.infer("tiny", [prepared], outputs=outputs).as_numpy("logits"), logits)
    encoded = np.array([base64.b64encode(content) for content in photographs(images)], dtype=np.object_)
    sent = http.input("photographs", encoded, "BYTES", binary_data=False)
    same(http.client.infer("tiny", [sent], outputs=outputs).as_numpy("logits"), logits)
    as_text = [by_http.InferRequestedOutput("logits", binary_data=False, class_count=1)]
    assert http.client.infer("tiny", [sent], outputs=as_text).as_numpy("logits").shape == (len(images), 1)


def test_one_output_in_binary_and_one_as_json(http, served):
    images, logits = served.golden()
    outputs = [
        by_http.InferRequestedOutput("probabilities", binary_data=False),
        by_http.InferRequestedOutput("logits", binary_data=True),
    ]
    answer = http.client.infer("tiny", http.images(images), outputs=outputs)
    same(answer.as_numpy("logits"), logits)
    same(answer.as_numpy("probabilities"), softmax(logits))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_requests_may_be_compressed(triton, served, algorithm):
    images, logits = served.golden()
    keyword = "request_compression_algorithm" if triton.module is by_http else "compression_algorithm"
    answer = triton.client.infer("tiny", triton.images(images), **{keyword: algorithm})
    same(answer.as_numpy("logits"), logits)


def config_of(triton: Transport, version: str) -> dict[str, Any]:
    found = triton.client.get_model_config("tiny", version)
    return found if isinstance(found, dict) else MessageToDict(found.config, preserving_proto_field_name=True)


@pytest.mark.parametrize("version", ["", OLDER])
def test_the_configuration_is_there(triton, version):
    config = config_of(triton, version)
    (given,) = config["input"]
    assert {**given, "dims": [int(each) for each in given["dims"]]} == {
        "name": "images",
        "data_type": "TYPE_UINT8",
        "format": "FORMAT_NHWC",
        "dims": [IMAGE_SIZE, IMAGE_SIZE, 3],
    }
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("tiny", "onnxruntime", 64)
    assert config["output"][0]["name"] == "probabilities"
    assert config["parameters"]["photographs"]["string_value"].startswith("an input in place of images: BYTES [-1]")
    with pytest.raises(InferenceServerException, match="no model 'other' is served"):
        triton.client.get_model_config("other")


def test_the_index_tells_what_is_served(triton):
    found = triton.client.get_model_repository_index()
    index = found if isinstance(found, list) else [MessageToDict(each) for each in found.models]
    assert [(each["name"], each["version"], each["state"]) for each in index] == [
        ("tiny", NEWEST, "READY"),
        ("tiny", OLDER, "READY"),
    ]


def test_statistics_count_requests_images_and_failures(triton, served):
    def asked(version: str) -> dict[str, Any]:
        found = triton.client.get_inference_statistics("tiny", version)
        (each,) = found["model_stats"] if isinstance(found, dict) else found.model_stats
        counts = each if isinstance(each, dict) else MessageToDict(each, preserving_proto_field_name=True)
        durations = counts["inference_stats"]
        return {
            "images": int(counts.get("inference_count", 0)),
            "batches": int(counts.get("execution_count", 0)),
            "last_ms": int(counts.get("last_inference", 0)),
            **{name: int(duration.get("count", 0)) for name, duration in durations.items()},
            "success_ns": int(durations["success"].get("ns", 0)),
            "compute_infer_ns": int(durations["compute_infer"].get("ns", 0)),
        }

    before, other = asked(OLDER), asked(NEWEST)
    images, _ = served.golden()
    for _ in range(2):
        triton.client.infer("tiny", triton.images(images), model_version=OLDER)
    with pytest.raises(InferenceServerException):
        sent = np.array([b"no picture"], dtype=np.object_)
        triton.client.infer("tiny", [triton.input("photographs", sent, "BYTES")], model_version=OLDER)
    after = asked(OLDER)
    assert after["images"] - before["images"] == 2 * len(images)
    assert after["batches"] - before["batches"] == 2
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after[name] - before[name] == 2
    assert after["fail"] - before["fail"] == 1
    assert after["last_ms"] > before["last_ms"]
    assert after["success_ns"] - before["success_ns"] > after["compute_infer_ns"] - before["compute_infer_ns"] > 0
    assert asked(NEWEST) == other
    everything = triton.client.get_inference_statistics()
    assert len(everything["model_stats"] if isinstance(everything, dict) else everything.model_stats) == 2


def test_many_requests_at_once_get_each_its_own_answer(triton, served):
    images, logits = served.golden()
    sent = [triton.images(images[index % 4 : index % 4 + 1]) for index in range(40)]
    if triton.module is by_http:
        answers = [each.get_result() for each in [triton.client.async_infer("tiny", inputs) for inputs in sent]]
    else:
        arrived: Queue[tuple[int, Any, Any]] = Queue()
        for index, inputs in enumerate(sent):
            triton.client.async_infer(
                "tiny", inputs, callback=lambda result, error, index=index: arrived.put((index, result, error))
            )
        received = sorted((arrived.get(timeout=60) for _ in sent), key=lambda each: each[0])
        assert [error for _, _, error in received] == [None] * len(sent)
        answers = [result for _, result, _ in received]
    for index, answer in enumerate(answers):
        same(answer.as_numpy("logits"), logits[index % 4 : index % 4 + 1])


def test_the_clients_for_asyncio(served):
    images, logits = served.golden()

    async def ask(module: ModuleType, address: str) -> list[np.ndarray]:
        async with module.InferenceServerClient(address) as client:
            base = by_http if module is by_http_aio else by_grpc
            sent = Transport(base, client).images(images)
            answers = await asyncio.gather(*(client.infer("tiny", sent) for _ in range(8)))
            return [answer.as_numpy("logits") for answer in answers]

    for module, address in ((by_http_aio, served.http), (by_grpc_aio, served.grpc)):
        for answer in asyncio.run(ask(module, address)):
            same(answer, logits)


@pytest.mark.parametrize(
    ("model", "version", "name", "datatype", "shape", "output", "message"),
    [
        ("other", "", "images", "UINT8", (1, 8, 8, 3), "logits", "no model 'other' is served here"),
        ("tiny", "9", "images", "UINT8", (1, 8, 8, 3), "logits", "version '9' of tiny is not served"),
        ("tiny", "", "images", "UINT8", (1, 8, 9, 3), "logits", "images: its shape is [1, 8, 9, 3]"),
        ("tiny", "", "images", "UINT8", (0, 8, 8, 3), "logits", "images: is empty"),
        ("tiny", "", "images", "FP32", (1, 8, 8, 3), "logits", "images: its datatype is 'FP32': send UINT8"),
        ("tiny", "", "pixels", "UINT8", (1, 8, 8, 3), "logits", "tiny has no input 'pixels'"),
        ("tiny", "", "images", "UINT8", (1, 8, 8, 3), "labels", "no output 'labels'"),
        ("tiny", "", "images", "UINT8", (65, 8, 8, 3), "logits", "65 images: at most 64"),
    ],
)
def test_what_is_wrong_is_said(triton, model, version, name, datatype, shape, output, message):
    values = np.zeros(shape, np.float32 if datatype == "FP32" else np.uint8)
    outputs = [triton.module.InferRequestedOutput(output)]
    with pytest.raises(InferenceServerException) as caught:
        triton.client.infer(model, [triton.input(name, values, datatype)], model_version=version, outputs=outputs)
    assert message in caught.value.message()
    assert triton.client.is_server_ready()
    if triton.module is by_grpc:
        expected = "NOT_FOUND" if "is served" in message or "not served" in message else "INVALID_ARGUMENT"
        assert caught.value.status() == f"StatusCode.{'RESOURCE_EXHAUSTED' if 'at most' in message else expected}"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"GIF89a", "not a JPEG, PNG or WebP image"), (b"", "not a JPEG"), ("cut", "cannot be decoded")],
)
def test_what_is_no_photograph_is_said(triton, served, content, message):
    if content == "cut":
        whole = png(served.golden()[0][0])
        content = whole[: len(whole) // 2]
    sent = np.array([content], dtype=np.object_)
    with pytest.raises(InferenceServerException, match=message):
        triton.client.infer("tiny", [triton.input("photographs", sent, "BYTES")])


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "load_model": (("tiny",), "scenerec serve deploy"),
    "unload_model": (("tiny",), "scenerec registry promote"),
    "get_system_shared_memory_status": ((), "send the tensor itself"),
    "register_system_shared_memory": (("a", "/a", 8), "send the tensor itself"),
    "unregister_system_shared_memory": ((), "send the tensor itself"),
    "get_cuda_shared_memory_status": ((), "send the tensor itself"),
    "register_cuda_shared_memory": (("a", b"AAAA", 0, 8), "send the tensor itself"),
    "unregister_cuda_shared_memory": ((), "send the tensor itself"),
    "get_trace_settings": ((), "traceparent"),
    "update_trace_settings": ((), "traceparent"),
    "get_log_settings": ((), "http.access_log"),
    "update_log_settings": (({"log_info": True},), "http.access_log"),
}
"""Methods of tritonclient with what they are given, and what is said."""


@pytest.mark.parametrize("method", REFUSED)
def test_what_the_server_does_not_have_is_said(triton, method):
    arguments, message = REFUSED[method]
    with pytest.raises(InferenceServerException) as caught:
        getattr(triton.client, method)(*arguments)
    if triton.module is by_grpc:
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
        assert message in caught.value.message()
    else:
        assert "nothing is at '/v2/" in caught.value.message()
    assert triton.client.is_server_live()


def test_every_call_of_the_clients_is_tried_here():
    """One that a new tritonclient brings is to be answered, or refused in so many words, too."""
    tried = {
        *REFUSED,
        *("is_server_live", "is_server_ready", "is_model_ready", "get_server_metadata", "get_model_metadata"),
        *("get_model_config", "get_model_repository_index", "get_inference_statistics", "infer", "async_infer"),
        *("start_stream", "async_stream_infer", "stop_stream"),
    }
    asks_nothing = {"close", "plugin", "register_plugin", "unregister_plugin"}
    asks_nothing |= {"generate_request_body", "parse_response_body"}
    for module in (by_http, by_grpc):
        methods = {name for name in dir(module.InferenceServerClient) if not name.startswith("_")}
        assert methods - asks_nothing <= tried


def test_a_stream_answers_one_request_after_another_and_goes_on_after_an_error(served):
    images, logits = served.golden()
    arrived: Queue[tuple[Any, Any]] = Queue()
    with by_grpc.InferenceServerClient(served.grpc) as client:
        triton = Transport(by_grpc, client)
        client.start_stream(lambda result, error: arrived.put((result, error)))
        for index, model in enumerate(("tiny", "other", "tiny")):
            client.async_stream_infer(model, triton.images(images[index : index + 1]), request_id=str(index))
        client.stop_stream()
    answers = [arrived.get_nowait() for _ in range(3)]
    assert "no model 'other' is served" in answers[1][1].message()
    for index in (0, 2):
        result, error = answers[index]
        assert error is None and result.get_response().id == str(index)
        same(result.as_numpy("logits"), logits[index : index + 1])


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Of three colours, in three kinds of files; none of the network's size."""
    made = []
    for name, colour in (("a.png", "red"), ("b.jpg", "lime"), ("c.webp", "blue")):
        made.append(tmp_path / name)
        Image.new("RGB", (20, 12), colour).save(made[-1])
    return made


@pytest.mark.parametrize("batch", [1, 3])
def test_nvidias_image_client(triton, pictures, batch):
    """What image_client.py and grpc_image_client.py of github.com/triton-inference-server/client do.

    They take a model of one input and one output, read its size and layout from metadata and configuration, scale by
    Pillow, and ask for the best classes.
    """
    metadata, config = triton.metadata(), config_of(triton, "")
    (given,), (wanted,), (layout,) = metadata["inputs"], metadata["outputs"], config["input"]
    assert wanted["datatype"] == "FP32" and config["max_batch_size"] >= batch
    assert sum(axis > 1 for axis in wanted["shape"][1:]) <= 1
    assert len(given["shape"]) == 4 and layout["format"] == "FORMAT_NHWC"
    _, height, width, _ = given["shape"]
    prepared = [
        np.array(Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)).astype(
            triton_to_np_dtype(given["datatype"])
        )
        for path in pictures
    ]
    best: list[str] = []
    for at in range(0, len(prepared), batch):
        sent = [triton.input(given["name"], np.stack(prepared[at : at + batch]), given["datatype"])]
        outputs = [triton.module.InferRequestedOutput(wanted["name"], class_count=2)]
        answer = triton.client.infer("tiny", sent, request_id="1", model_version="", outputs=outputs)
        for texts in answer.as_numpy(wanted["name"]):
            value, index, label = "".join(map(chr, texts[0])).split(":")
            assert float(value) > 0.5 and LABELS[int(index)] == label
            best.append(label)
    assert best == ["red", "green", "blue"]


def test_nvidias_client_of_ensembles_that_decode(triton, pictures):
    """ensemble_image_client.py sends files as they are to the one input, whatever its datatype."""
    metadata = triton.metadata()
    (given,) = metadata["inputs"]
    files = np.array([[path.read_bytes()] for path in pictures], dtype=np.object_)
    outputs = [triton.module.InferRequestedOutput(each["name"], class_count=1) for each in metadata["outputs"]]
    answer = triton.client.infer("tiny", [triton.input(given["name"], files, "BYTES")], outputs=outputs)
    texts = answer.as_numpy("probabilities")
    assert [each[0].decode().split(":")[2] for each in texts] == ["red", "green", "blue"]
