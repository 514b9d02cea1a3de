"""The optional input of coordinates, over HTTP in JSON and in binary, and in gRPC's messages."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from serve.access.admission import RequestLimits
from serve.errors import RequestError
from serve.loaded_version import EngineOptions, LoadedVersion, load_version
from serve.oip.documents import HEADER_LENGTH
from serve.oip.grpc_messages import infer_request
from serve.oip.infer_body import read_infer_request
from serve.oip.inference import InferRequest
from serve.oip.proto import inference_pb2 as pb
from serve.shelf import Shelf, Weighted
from tests.tiny_bundle import IMAGE_SIZE, PLACE_LOGITS, make_tiny_bundle
from tests.unit.serve.oip.test_rest import respond

SHAPE = (2, IMAGE_SIZE, IMAGE_SIZE, 3)
BLACK = np.zeros(SHAPE, np.uint8)
ROWS = [[52.5, 13.25, 0.5], [None, None, None]]
PLACES = np.array(ROWS, np.float64).astype(np.float32)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedVersion]:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("located"), coordinates=True)
    made = load_version("tiny", "1", bundle, EngineOptions())
    yield made
    made.engine.close()


def in_json(rows: object, count: int = 2, **entries: object) -> dict[str, Any]:
    return {"name": "coordinates", "datatype": "FP32", "shape": [count, 3], "data": rows, **entries}


def images_in_json() -> dict[str, Any]:
    return {"name": "images", "datatype": "UINT8", "shape": SHAPE, "data": BLACK.ravel().tolist()}


def read(version: LoadedVersion, *inputs: dict[str, Any]) -> InferRequest:
    return read_infer_request(version, json.dumps({"inputs": inputs}).encode(), {}, RequestLimits())


def read_binary(version: LoadedVersion, *inputs: tuple[str, str, np.ndarray]) -> InferRequest:
    described = [
        {"name": name, "datatype": kind, "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
        for name, kind, array in inputs
    ]
    document = json.dumps({"inputs": described}).encode()
    body = b"".join([document, *(array.tobytes() for *_, array in inputs)])
    return read_infer_request(version, body, {HEADER_LENGTH: str(len(document))}, RequestLimits())


def message(places: Sequence[Sequence[float]] | bytes | None, count: int = 2) -> pb.ModelInferRequest:
    """Of black images; coordinates in the message's own contents, or raw."""
    tensor = pb.ModelInferRequest.InferInputTensor
    inputs = [tensor(name="images", datatype="UINT8", shape=SHAPE)]
    request = pb.ModelInferRequest(model_name="tiny")
    if isinstance(places, bytes):
        inputs.append(tensor(name="coordinates", datatype="FP32", shape=[count, 3]))
        request.raw_input_contents.extend([BLACK.tobytes(), places])
    else:
        inputs[0].contents.uint_contents.extend(BLACK.ravel().tolist())
        if places is not None:
            inputs.append(tensor(name="coordinates", datatype="FP32", shape=[count, 3]))
            inputs[1].contents.fp32_contents.extend(value for row in places for value in row)
    request.inputs.extend(inputs)
    return request


def found(request: InferRequest) -> list[list[float]] | None:
    return None if request.coordinates is None else np.stack(list(request.coordinates)).tolist()


def test_they_come_in_json_in_binary_and_in_messages(version: LoadedVersion) -> None:
    nan = math.nan
    asked = [
        read(version, images_in_json(), in_json(ROWS)),
        read(version, in_json([value for row in ROWS for value in row]), images_in_json()),
        read_binary(version, ("images", "UINT8", BLACK), ("coordinates", "FP32", PLACES)),
        read_binary(version, ("coordinates", "FP32", PLACES), ("images", "UINT8", BLACK)),
        infer_request(version, message(PLACES.tolist()), RequestLimits()),
        infer_request(version, message(PLACES.tobytes()), RequestLimits()),
    ]
    for request in asked:
        np.testing.assert_array_equal(found(request), [[52.5, 13.25, 0.5], [nan] * 3])
        np.testing.assert_array_equal(np.stack([np.asarray(each) for each in request.photographs]), BLACK)
    assert found(read(version, images_in_json())) is None
    assert found(infer_request(version, message(None), RequestLimits())) is None


def test_the_answer_follows_from_them_and_the_configuration_tells_of_them(version: LoadedVersion) -> None:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(version, 1.0)]})
    body = json.dumps({"inputs": [images_in_json(), in_json(ROWS)], "outputs": [{"name": "logits"}]}).encode()
    answer = json.loads(respond(shelf, "/v2/models/tiny/infer", body).body)
    expected = [[52.5, 13.25, 0.5] @ PLACE_LOGITS, [0, 0, 0]]
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], (2, 3)), expected)
    configured = json.loads(respond(shelf, "/v2/models/tiny/config", method="GET").body)
    assert configured["parameters"]["coordinates"]["string_value"].startswith(
        "an optional input beside it: FP32 [-1, 3]"
    )
    assert [each["name"] for each in configured["input"]] == ["images"]  # which image clients want alone


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (in_json([[97.5, 121, None], [1, 2, None]]), "coordinates: row 0: latitude is not between -90 and 90 degrees"),
        (
            in_json([[1, 2, None], [97.5, 12, None]]),
            "row 1: latitude is not between -90 and 90 degrees: are latitude and",
        ),
        (in_json([[1, 2, 1], [1, 2, 0]]), "row 0: time is not a share of the year"),
        (in_json([[1, None, None], [1, 2, 0]]), "row 0: latitude and longitude come together, and time with them"),
        (in_json([[None, None, 0.5], [1, 2, 0]]), "row 0: latitude and longitude come together, and time with them"),
        (in_json([[1e39, 0, 0], [1, 2, 0]]), "row 0: latitude is not between"),
        (in_json([["1", 2, 0], [1, 2, 0]]), "coordinates: data must be numbers, or null where not known"),
        (in_json([[True, 2, 0], [1, 2, 0]]), "coordinates: data must be numbers, or null where not known"),
        (in_json([[10**400, 2, 0], [1, 2, 0]]), "coordinates: data must be numbers that float32 can hold"),
        (in_json([[1, 2, 0]], 1), "coordinates: has 1 rows for 2 images"),
        (in_json([1, 2, 0]), "coordinates: has 3 values; shape [2, 3] has 6"),
        (in_json([[1, 2], [1, 2]], shape=[2, 2]), "coordinates: its shape is [2, 2]: send [-1, 3]"),
        (in_json(ROWS, datatype="FP64"), "coordinates: its datatype is 'FP64': send FP32"),
    ],
)
def test_impossible_ones_are_told_by_row_and_not_by_value(
    version: LoadedVersion, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(RequestError) as caught:
        read(version, images_in_json(), given)
    assert expected in caught.value.message and "97.5" not in caught.value.message


def test_they_come_once_and_beside_images(version: LoadedVersion) -> None:
    for inputs in ([in_json(ROWS)], [in_json(ROWS), in_json(ROWS)], [images_in_json(), in_json(ROWS), in_json(ROWS)]):
        with pytest.raises(
            RequestError, match="inputs: send one, images or photographs, and at most one of coordinates"
        ):
            read(version, *inputs)
    with pytest.raises(
        RequestError, match="binary_data_size is 192, coordinates: binary_data_size is 24, and 215 bytes"
    ):
        read_infer_request(*_cut_off(version))
    cut = message(PLACES.tobytes())
    del cut.raw_input_contents[1]
    with pytest.raises(RequestError, match="1 raw_input_contents for 2 inputs"):
        infer_request(version, cut, RequestLimits())


def _cut_off(version: LoadedVersion) -> tuple[LoadedVersion, bytes, dict[str, str], RequestLimits]:
    one = BLACK[:1]
    described = [
        {"name": name, "datatype": kind, "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
        for name, kind, array in (("images", "UINT8", one), ("coordinates", "FP32", PLACES))
    ]
    document = json.dumps({"inputs": described}).encode()
    return (
        version,
        document + bytes(one.nbytes + PLACES.nbytes - 1),
        {HEADER_LENGTH: str(len(document))},
        RequestLimits(),
    )
