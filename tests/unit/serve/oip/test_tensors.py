import base64
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.errors import RequestError
from serve.oip.tensors import BYTES, Tensor, TensorSpec, from_bytes, from_json, from_strings, from_uint8s

IMAGES = TensorSpec("images", "UINT8", (-1, 2, 2, 3))
PHOTOGRAPHS = TensorSpec("photographs", BYTES, (-1,))
LOGITS = TensorSpec("logits", "FP32", (-1, 3))

counts = st.integers(1, 4)
strings = st.lists(st.binary(max_size=40), min_size=1, max_size=5)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)


def problem(spec: TensorSpec, datatype: str, shape: list[int], raw: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        from_bytes(spec, datatype, shape, raw)
    assert (caught.value.status, caught.value.code) == (400, "bad_tensor")
    return caught.value.message


def json_problem(spec: TensorSpec, shape: list[int], data: object) -> str:
    with pytest.raises(RequestError) as caught:
        from_json(spec, spec.datatype, shape, data)
    assert (caught.value.status, caught.value.code) == (400, "bad_tensor")
    return caught.value.message


@given(counts, st.integers(0, 1000))
def test_numbers_survive_binary(count, seed):
    sent = Tensor.of_numbers("images", images(count, seed))
    received = from_bytes(IMAGES, sent.datatype, sent.shape, sent.to_bytes())
    assert received.shape == sent.shape
    np.testing.assert_array_equal(received.values, sent.values)


@given(st.lists(st.tuples(*[st.floats(width=32, allow_nan=False)] * 3), min_size=1, max_size=5))
def test_floats_survive_binary_and_are_exact_in_json(rows):
    sent = Tensor.of_numbers("logits", np.array(rows, np.float32))
    np.testing.assert_array_equal(from_bytes(LOGITS, "FP32", sent.shape, sent.to_bytes()).values, sent.values)
    np.testing.assert_array_equal(np.array(sent.to_json(), np.float32), sent.values.ravel())


@given(strings)
def test_strings_survive_binary(values):
    sent = from_strings(PHOTOGRAPHS, BYTES, [len(values)], values)
    assert from_bytes(PHOTOGRAPHS, BYTES, [len(values)], sent.to_bytes()).values == values


@given(strings)
def test_strings_may_have_axes_of_length_one(values):
    count, sent = len(values), from_strings(PHOTOGRAPHS, BYTES, [len(values)], values).to_bytes()
    for shape in ([count, 1], [count, 1, 1]):
        assert from_bytes(PHOTOGRAPHS, BYTES, shape, sent).values == values
    nested = [[base64.b64encode(value).decode()] for value in values]
    assert from_json(PHOTOGRAPHS, BYTES, [count, 1], nested).values == values
    assert "its shape is [1, 2]: send [-1]" in problem(PHOTOGRAPHS, BYTES, [1, 2], b"")
    assert "its shape is [1, 0]" in problem(PHOTOGRAPHS, BYTES, [1, 0], b"")


@given(strings)
def test_strings_come_in_base64_in_json(values):
    data = [base64.b64encode(value).decode() for value in values]
    assert from_json(PHOTOGRAPHS, BYTES, [len(values)], data).values == values


@given(counts, st.integers(0, 1000))
def test_numbers_come_flat_or_nested_in_json(count, seed):
    sent = images(count, seed)
    for data in (sent.tolist(), sent.ravel().tolist()):
        np.testing.assert_array_equal(from_json(IMAGES, "UINT8", list(sent.shape), data).values, sent)


def test_binary_numbers_are_a_view():
    raw = images(2).tobytes()
    values = from_bytes(IMAGES, "UINT8", [2, 2, 2, 3], memoryview(raw)).values
    assert isinstance(values, np.ndarray)
    assert np.shares_memory(values, np.frombuffer(raw, np.uint8))


@given(counts, st.data())
def test_numbers_that_are_cut_off_or_too_long_are_refused(count, data):
    raw = images(count).tobytes()
    wrong = data.draw(st.integers(0, 2 * len(raw)).filter(lambda size: size != len(raw)))
    assert f"images: has {wrong} bytes" in problem(IMAGES, "UINT8", [count, 2, 2, 3], (raw * 2)[:wrong])


@given(strings, st.data())
def test_strings_that_are_cut_off_are_refused(values, data):
    raw = from_strings(PHOTOGRAPHS, BYTES, [len(values)], values).to_bytes()
    kept = data.draw(st.integers(0, len(raw) - 1))
    assert "is it cut off?" in problem(PHOTOGRAPHS, BYTES, [len(values)], raw[:kept])


@given(strings, st.integers(-3, 3).filter(bool))
def test_another_number_of_strings_than_the_shape_says_is_refused(values, more):
    raw = from_strings(PHOTOGRAPHS, BYTES, [len(values)], values).to_bytes()
    assert problem(PHOTOGRAPHS, BYTES, [max(len(values) + more, 0)], raw).startswith("photographs: ")


@given(st.binary(max_size=200), st.integers(0, 1 << 70))
def test_any_bytes_are_a_tensor_or_refused(raw, count):
    for spec, shape in ((PHOTOGRAPHS, [count]), (IMAGES, [count, 2, 2, 3])):
        try:
            assert from_bytes(spec, spec.datatype, shape, raw).shape == tuple(shape)
        except RequestError as error:
            assert error.code == "bad_tensor"


JSON_LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)


@given(st.recursive(JSON_LEAVES, st.lists, max_leaves=30))
def test_any_json_is_a_tensor_or_refused(data):
    for spec, shape in ((PHOTOGRAPHS, [1]), (IMAGES, [1, 2, 2, 3])):
        try:
            from_json(spec, spec.datatype, shape, data)
        except RequestError as error:
            assert error.code == "bad_tensor"


def test_a_count_that_no_memory_holds_is_refused_at_once():
    assert "too few for 4294967296 strings" in problem(PHOTOGRAPHS, BYTES, [1 << 32], struct.pack("<I", 0))


def test_a_wrong_datatype_and_a_wrong_shape_are_named():
    assert problem(IMAGES, "FP32", [1, 2, 2, 3], b"") == "images: its datatype is 'FP32': send UINT8"
    assert problem(IMAGES, "UINT8", [1, 3, 2, 2], b"") == "images: its shape is [1, 3, 2, 2]: send [-1, 2, 2, 3]"
    assert problem(IMAGES, "UINT8", [2, 2, 3], b"") == "images: its shape is [2, 2, 3]: send [-1, 2, 2, 3]"
    assert problem(IMAGES, "UINT8", [-1, 2, 2, 3], b"").startswith("images: its shape is [-1, 2, 2, 3]")
    assert len(problem(IMAGES, "X" * 10_000, [1], b"")) < 200


@pytest.mark.parametrize("value", [256, -1, 1.0, "1", None, [1], 1 << 80])
def test_values_that_are_no_uint8_are_refused(value):
    message = json_problem(IMAGES, [1, 2, 2, 3], [*[0] * 11, value])
    assert message == "images: data must be whole numbers from 0 to 255"


def test_data_that_do_not_fit_the_shape_are_refused():
    assert json_problem(IMAGES, [1, 2, 2, 3], [0] * 11) == "images: has 11 values; shape [1, 2, 2, 3] has 12"
    nested = images(1).tolist()
    nested[0][1].pop()
    assert "axis 2 differs" in json_problem(IMAGES, [1, 2, 2, 3], nested)
    assert json_problem(IMAGES, [1, 2, 2, 3], {"a": 1}) == "images: data must be a list of its values"
    assert json_problem(PHOTOGRAPHS, [2], ["QQ=="]) == "photographs: has 1 values; shape [2] has 2"


@pytest.mark.parametrize("text", ["*", "QQ", "é"])
def test_what_is_not_base64_is_refused(text):
    assert json_problem(PHOTOGRAPHS, [2], ["QQ==", text]) == "photographs: value 1 is not base64"
    assert "value 0 is not a string" in json_problem(PHOTOGRAPHS, [1], [5])


def test_text_goes_out_as_text():
    sent = Tensor("probabilities", BYTES, (1, 2), ["0.9:1:plage été".encode(), b"0.1:0:forest"])
    assert sent.to_json() == ["0.9:1:plage été", "0.1:0:forest"]
    assert sent.to_bytes()[:4] == struct.pack("<I", len(sent.values[0]))


def test_numbers_may_come_one_by_one():
    np.testing.assert_array_equal(
        from_uint8s(IMAGES, "UINT8", [1, 2, 2, 3], list(range(12))).values.ravel(), np.arange(12)
    )
