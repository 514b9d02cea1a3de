"""Tensors of the Open Inference Protocol v2, to and from bytes and JSON.

The source is the protocol's specification (github.com/kserve/open-inference-protocol, inference_rest.md) and, for
tensors in binary, Triton's extension of it (github.com/triton-inference-server/server, extension_binary_data.md):
numbers are little-endian, in row-major order and without padding; a string is its length, as four bytes, and its bytes.
"""

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np

from serve.errors import ErrorKind, RequestError, short

Datatype = Literal["UINT8", "FP32", "BYTES"]
"""The protocol's names of the types of values that are in use here."""
NUMBERS: dict[Datatype, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
"""Datatypes of the protocol that are numbers, and what they are in numpy."""
BYTES: Literal["BYTES"] = "BYTES"
"""The datatype of strings of bytes."""

_LENGTH = struct.Struct("<I")
_LONGEST_AXIS = 1 << 63


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor must be."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    """Lengths of its axes; -1 for any length."""

    def check(self, datatype: str, shape: Sequence[int]) -> None:
        """Makes sure that a tensor is of this datatype and shape. Raises RequestError.

        Strings may have further axes of length 1: Triton's own models take them as [batch, 1].
        """
        if datatype != self.datatype:
            raise bad_tensor(f"{self.name}: its datatype is {short(datatype)}: send {self.datatype}")
        while self.datatype == BYTES and len(shape) > len(self.shape) and shape[-1] == 1:
            shape = shape[:-1]
        fits = len(shape) == len(self.shape) and all(
            given >= 0 and wanted in (-1, given) for wanted, given in zip(self.shape, shape, strict=False)
        )
        if not fits:
            raise bad_tensor(f"{self.name}: its shape is {axes(shape)}: send {axes(self.shape)}")


@dataclass(frozen=True)
class Tensor:
    """A tensor with its name."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: "np.ndarray | Sequence[bytes]"
    """Numbers as an array of this shape; strings in row-major order."""

    @classmethod
    def of_numbers(cls, name: str, values: np.ndarray) -> "Tensor":
        """A tensor of uint8 or float32 values."""
        datatype = next(datatype for datatype, dtype in NUMBERS.items() if dtype == values.dtype)
        return cls(name, datatype, values.shape, values)

    def to_bytes(self) -> bytes:
        """The values in binary."""
        if isinstance(self.values, np.ndarray):
            return self.values.tobytes()
        return b"".join(part for value in self.values for part in (_LENGTH.pack(len(value)), value))

    def to_json(self) -> list[Any]:
        """The values in a flat list, in row-major order; strings as text, which what is sent in this way must be."""
        if isinstance(self.values, np.ndarray):
            return self.values.ravel().tolist()
        return [value.decode() for value in self.values]


def from_bytes(spec: TensorSpec, datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> Tensor:
    """A tensor sent in binary; numbers are a read-only view of `raw`.

    Raises RequestError where it is not of `spec`, or `raw` is longer or shorter than its shape asks for.
    """
    spec.check(datatype, shape)
    if spec.datatype == BYTES:
        return Tensor(spec.name, spec.datatype, tuple(shape), _strings(spec.name, math.prod(shape), memoryview(raw)))
    dtype = NUMBERS[spec.datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise bad_tensor(
            f"{spec.name}: has {len(raw)} bytes; {datatype} of shape {axes(shape)} has {expected}: is it cut off?"
        )
    return Tensor(spec.name, spec.datatype, tuple(shape), np.frombuffer(raw, dtype).reshape(shape))


def from_json(spec: TensorSpec, datatype: str, shape: Sequence[int], data: object) -> Tensor:
    """A tensor sent as JSON: flat, or nested by axis; strings of bytes in base64.

    Raises RequestError where it is not of `spec`, or `data` are not the values of such a tensor.
    """
    spec.check(datatype, shape)
    if not isinstance(data, list):
        raise bad_tensor(f"{spec.name}: data must be a list of its values")
    if spec.datatype == BYTES:
        return from_strings(spec, datatype, shape, _of_base64(spec.name, _flat(spec.name, data, shape)))
    if spec.datatype == "FP32":
        return from_floats(spec, datatype, shape, _flat(spec.name, data, shape))
    return from_uint8s(spec, datatype, shape, _flat(spec.name, data, shape))


def from_uint8s(spec: TensorSpec, datatype: str, shape: Sequence[int], data: Sequence[Any]) -> Tensor:
    """A tensor of UINT8 from one number a value. Raises RequestError, where a value is something else too."""
    spec.check(datatype, shape)
    _check_count(spec.name, len(data), shape)
    try:
        raw = bytes(data)
    except (TypeError, ValueError):
        raise bad_tensor(f"{spec.name}: data must be whole numbers from 0 to 255") from None
    return Tensor(spec.name, spec.datatype, tuple(shape), np.frombuffer(raw, np.uint8).reshape(shape))


def from_floats(spec: TensorSpec, datatype: str, shape: Sequence[int], data: Sequence[Any]) -> Tensor:
    """A tensor of FP32 from one number a value; None, JSON's null, is NaN.

    Raises RequestError, where a value is something else too, or exceeds what float32 can hold.
    """
    spec.check(datatype, shape)
    _check_count(spec.name, len(data), shape)
    if not all(each is None or (isinstance(each, (int, float)) and not isinstance(each, bool)) for each in data):
        raise bad_tensor(f"{spec.name}: data must be numbers, or null where not known")
    try:
        with np.errstate(over="ignore"):
            values = np.array(data, np.float64).astype(np.float32)  # float64 of None is NaN
    except OverflowError:
        raise bad_tensor(f"{spec.name}: data must be numbers that float32 can hold") from None
    return Tensor(spec.name, spec.datatype, tuple(shape), values.reshape(tuple(shape)))


def from_strings(spec: TensorSpec, datatype: str, shape: Sequence[int], data: Sequence[bytes]) -> Tensor:
    """A tensor of strings. Raises RequestError where it is not of `spec`, or they are too many or too few."""
    spec.check(datatype, shape)
    _check_count(spec.name, len(data), shape)
    return Tensor(spec.name, spec.datatype, tuple(shape), data)


def bad_tensor(message: str) -> RequestError:
    """The error of a tensor that is not what its description or the model says."""
    return RequestError(ErrorKind.BAD_TENSOR, message)


def axes(shape: Sequence[int]) -> str:
    """A shape as text, cut where a caller sent a long one."""
    lengths = [str(axis) if abs(axis) < _LONGEST_AXIS else "…" for axis in shape[:8]]
    return f"[{', '.join(lengths)}{', …' if len(shape) > len(lengths) else ''}]"


def _strings(name: str, count: int, raw: memoryview) -> list[bytes]:
    """`count` strings that are all of `raw`."""
    if count * _LENGTH.size > len(raw):  # before anything is made `count` times
        raise bad_tensor(f"{name}: has {len(raw)} bytes, too few for {count} strings: is it cut off?")
    strings, at = [], 0
    for index in range(count):
        starts = at + _LENGTH.size
        if starts > len(raw):
            raise bad_tensor(f"{name}: ends before string {index} of {count}: is it cut off?")
        (length,) = _LENGTH.unpack_from(raw, at)
        at = starts + length
        if at > len(raw):
            raise bad_tensor(
                f"{name}: string {index} has {length} bytes by its length; {len(raw) - starts} follow: is it cut off?"
            )
        strings.append(bytes(raw[starts:at]))
    if at != len(raw):
        raise bad_tensor(f"{name}: {len(raw) - at} bytes follow its last string: its shape says {count} strings")
    return strings


def _flat(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    """The values of nested lists, or of a list that is flat already."""
    if not data or not isinstance(data[0], list):
        return data
    flat = [data]
    for index, axis in enumerate(shape):
        if not all(isinstance(each, list) and len(each) == axis for each in flat):
            raise bad_tensor(f"{name}: data are nested, and not as its shape {axes(shape)}: axis {index} differs")
        flat = list(chain.from_iterable(flat))
    return flat


def _of_base64(name: str, data: Sequence[object]) -> list[bytes]:
    strings = []
    for index, text in enumerate(data):
        if not isinstance(text, str):
            raise bad_tensor(f"{name}: value {index} is not a string: send base64")
        try:
            strings.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):  # of which the latter is for what is not ASCII
            raise bad_tensor(f"{name}: value {index} is not base64") from None
    return strings


def _check_count(name: str, count: int, shape: Sequence[int]) -> None:
    if count != math.prod(shape):
        raise bad_tensor(f"{name}: has {count} values; shape {axes(shape)} has {math.prod(shape)}")
