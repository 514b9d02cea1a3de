"""Bodies that are sent compressed: whatever they become, no more than a request may have is unpacked."""

import zlib

from serve.errors import ErrorKind, RequestError

_ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_ANY_ZLIB = zlib.MAX_WBITS | 32  # gzip's and zlib's headers are told apart


def decompressed(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """A body that is sent with this Content-Encoding.

    Raises RequestError for an unknown encoding, a damaged body, and one that is larger than `limit_bytes` when it is
    unpacked.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _ENCODINGS:
        raise _refused("content-encoding: must be gzip, deflate, or left out")
    kind = _ENCODINGS[encoding]
    unpacker = zlib.decompressobj(_ANY_ZLIB)
    try:
        unpacked = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise _refused(f"the body is not {kind}") from None
    if len(unpacked) > limit_bytes:
        raise RequestError(ErrorKind.BODY_TOO_LARGE, f"unpacked the body is larger than {limit_bytes / 1e6:g} MB")
    if not unpacker.eof:
        raise _refused("the compressed body is cut off")
    if unpacker.unused_data:
        raise _refused(f"{len(unpacker.unused_data)} bytes follow the {kind} of the body")
    return unpacked


def _refused(message: str) -> RequestError:
    return RequestError(ErrorKind.BAD_PARAMETER, message)
