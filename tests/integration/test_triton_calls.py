"""All that NVIDIA's client can ask beside inference: answered, or refused in so many words; and its examples."""

from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as by_grpc
import tritonclient.http as by_http
from google.protobuf.json_format import MessageToDict
from PIL import Image
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.tiny_bundle import IMAGE_SIZE, LABELS
from tests.triton import NEWEST, OLDER, Served, Transport, connect, same, serve_both


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve_both(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture(params=["http", "grpc"])
def triton(served: Served, request: pytest.FixtureRequest) -> Iterator[Transport]:
    with connect(served, request.param) as found:
        yield found


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
