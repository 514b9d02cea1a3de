"""Damaged messages against a running server, by gRPC."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from serve.oip.grpc_methods import METHODS, REFUSED, SERVICE, STREAM
from serve.oip.proto import inference_pb2 as pb
from tests.image_fuzz import Outcome
from tests.patience import PATIENCE_S
from tests.tiny_bundle import IMAGE_SIZE

_OUR_FAILURES = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "CANCELLED"}
_INFER = "ModelInfer"

_NAMES = ("tiny", "", "other", "tiny/", "Ti\nny", "\u00e9\u4e2d", "x" * 5000, "\0", "stats")
_INPUTS = ("images", "photographs", "pixels", "", "im\r\nages", "y" * 3000)
_DATATYPES = ("UINT8", "BYTES", "FP32", "FP16", "BF16", "", "uint8", "z" * 3000, "INT64")
_AXES = (0, 1, -1, 3, IMAGE_SIZE, 64, 65, 2**31, 2**62, -(2**63), 2**63 - 1)
_OUTPUTS = ("probabilities", "logits", "labels", "")
_PARAMETERS: tuple[dict[str, Any], ...] = (
    {"int64_param": 2},
    {"int64_param": -1},
    {"int64_param": 2**63 - 1},
    {"uint64_param": 2**64 - 1},
    {"double_param": float("nan")},
    {"double_param": float("inf")},
    {"bool_param": True},
    {"string_param": "2"},
    {},
)
_KEYS = ("classification", "timeout", "binary_data", "shared_memory_region", "priority", "sequence_id", "")


def fuzz_messages(address: str, count: int, seed: int) -> Outcome:
    """Sends so many damaged messages to the server at host:port; each gets an answer, or a status of its own fault."""
    found, outcomes = Outcome(), Counter[str]()
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        for index in range(count):
            draw = random.Random(f"{seed}/{index}")
            method = draw.choice((*METHODS, *REFUSED, STREAM, *[_INFER] * 20))
            sent = _message(draw, method)
            started = time.perf_counter()
            code, details = _answer(channel, method, sent)
            took_s = time.perf_counter() - started
            outcomes[code] += 1
            is_one_line = len(details) < 500 and "\n" not in details and "Traceback" not in details
            # DEADLINE_EXCEEDED is an answer to a message that gives the server a microsecond.
            if code in _OUR_FAILURES or not is_one_line or took_s >= PATIENCE_S:
                found.wrong.append(f"{index}: {method}: {code} {details[:300]!r}")
            if took_s > found.slowest_s:
                found.slowest_s, found.slowest = round(took_s, 3), f"{index}: {method}: {code}"
    found.outcomes = dict(outcomes.most_common())
    return found


def _answer(channel: grpc.Channel, method: str, sent: bytes) -> tuple[str, str]:
    """Status and details; an error that a stream tells is INVALID_ARGUMENT."""
    path = f"/{SERVICE}/{method}"
    try:
        if method == STREAM:
            call: Any = channel.stream_stream(path)(iter([sent]), timeout=PATIENCE_S)
            told = [pb.ModelStreamInferResponse.FromString(each).error_message for each in call]
            return ("INVALID_ARGUMENT", told[0]) if told[0] else ("OK", "")
        channel.unary_unary(path)(sent, timeout=PATIENCE_S)
    except grpc.RpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


def _message(draw: random.Random, method: str) -> bytes:
    if method in (_INFER, STREAM):
        message: Message = _question(draw)
    elif method in METHODS:
        message = METHODS[method][0]()
        for field in ("name", "version"):
            if field in message.DESCRIPTOR.fields_by_name and draw.random() < 0.7:
                setattr(message, field, draw.choice(_NAMES))
    else:
        message = pb.ModelReadyRequest(name=draw.choice(_NAMES))
    content = bytearray(message.SerializeToString())
    if draw.random() < 0.3:
        for _ in range(draw.choice((1, 2, 8))):
            _damage(draw, content)
    return bytes(content)


def _damage(draw: random.Random, content: bytearray) -> None:
    at = draw.randrange(len(content) + 1)
    match draw.randrange(3):
        case 0 if at < len(content):
            content[at] ^= 1 << draw.randrange(8)
        case 1:
            del content[at : at + draw.choice((1, 3, 50))]
        case _:
            content[at:at] = draw.randbytes(draw.choice((1, 4, 20)))


def _question(draw: random.Random) -> pb.ModelInferRequest:
    """Sound but for some of its parts."""

    def either(sound: Any, odd: Callable[[], Any]) -> Any:
        return sound if draw.random() < 0.75 else odd()

    def odd_shape() -> Sequence[int]:
        return [draw.choice(_AXES) for _ in range(draw.choice((0, 1, 2, 4, 5, 40)))]

    as_files = draw.random() < 0.3
    count = draw.choice((1, 1, 2))
    raw = _strings(draw, count) if as_files else bytes(count * IMAGE_SIZE * IMAGE_SIZE * 3)
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=either("photographs" if as_files else "images", lambda: draw.choice(_INPUTS)),
        datatype=either("BYTES" if as_files else "UINT8", lambda: draw.choice(_DATATYPES)),
        shape=either([count] if as_files else [count, IMAGE_SIZE, IMAGE_SIZE, 3], odd_shape),
        parameters=_parameters(draw),
    )
    if draw.random() < 0.1:
        tensor.contents.uint_contents.extend(draw.choice(([0] * 192, [256] * 192, [2**32 - 1], [])))
        tensor.contents.bytes_contents.extend(draw.choice(([], [b""], [b"\xff"] * 3)))
        tensor.contents.fp32_contents.extend(draw.choice(([], [float("nan")])))
        raw = either(b"", lambda: raw)
    outputs = [
        pb.ModelInferRequest.InferRequestedOutputTensor(name=draw.choice(_OUTPUTS), parameters=_parameters(draw))
        for _ in range(draw.choice((0, 0, 1, 2, 5)))
    ]
    raws = [either(raw, lambda: draw.choice((raw[:-1], raw + b"x", b"", raw * 100)))] if raw else []
    return pb.ModelInferRequest(
        model_name=either("tiny", lambda: draw.choice(_NAMES)),
        model_version=either("", lambda: draw.choice(("1", "2", "9", "-1", "x" * 5000))),
        id=draw.choice(("", "7", "\u00e9" * 1000)),
        parameters=_parameters(draw),
        inputs=either([tensor], lambda: [tensor] * draw.choice((0, 2, 50))),
        outputs=outputs,
        raw_input_contents=either(raws, lambda: raws * 2),
    )


def _strings(draw: random.Random, count: int) -> bytes:
    """In binary, with lengths that may not be those of what follows."""
    strings = [draw.choice((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", draw.randbytes(40))) for _ in range(count)]
    lengths = [draw.choice((len(each), len(each), 2**32 - 1, len(each) + 1)) for each in strings]
    return b"".join(length.to_bytes(4, "little") + each for length, each in zip(lengths, strings, strict=True))


def _parameters(draw: random.Random) -> dict[str, pb.InferParameter]:
    count = draw.choice((0, 0, 0, 1, 2))
    return {draw.choice(_KEYS): pb.InferParameter(**draw.choice(_PARAMETERS)) for _ in range(count)}
