"""An object store on the loopback with habits of other stores than SeaweedFS, which has none of them."""

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE_KEYS = 3
"""Keys on a page of a listing."""

_CHECKSUM_HEADERS = ("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer")
_METHODS = ("GET", "HEAD", "PUT", "DELETE", "POST")


@dataclass(frozen=True)
class Refusal:
    """What every request gets instead of an answer."""

    status: int
    code: str = ""
    """Of S3, in XML; without one the body is `page`."""
    page: bytes = b""
    headers: Mapping[str, str] | None = None


class OddStore:
    """The S3 requests that scenerec makes, on one bucket; `objects` holds its content by key.

    Habits:
        no-checksums: refuses headers of checksums.
        conditions-501, conditions-400: refuses conditional writes.
        conditions-ignored: writes whatever the condition.
        no-token, same-token, other-token: a listing that says it goes on, and not where, or begins anew each time.
        whole-ranges: sends the whole object whatever range is asked for.
        weak-etags: W/ before each ETag, as a proxy that compresses puts it.
    """

    def __init__(self, bucket: str = "bucket") -> None:
        self.bucket = bucket
        self.objects: dict[str, bytes] = {}
        self.habits: frozenset[str] = frozenset()
        self.refusal: Refusal | None = None
        self.requests: list[tuple[str, str]] = []
        """Method and path of all that came."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body."""
        if self.refusal:
            refusal = self.refusal
            return refusal.status, refusal.headers or {}, _error(refusal.code) if refusal.code else refusal.page
        bucket, _, key = path.lstrip("/").partition("/")
        if bucket != self.bucket:
            return 404, {}, _error("NoSuchBucket")
        if not key:
            return 200, {"Content-Type": "application/xml"}, self._listing(query)
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, {}, b""
        if method == "POST":
            return self._join(key, query)
        if method == "PUT":
            part = query.get("partNumber")
            return self._put(f"{key}.part-{part:>05}" if part else key, headers, body)
        return self._get(key, headers.get("range"), headers.get("if-match"))

    def _get(self, key: str, wanted: str | None, version: str | None) -> tuple[int, Mapping[str, str], bytes]:
        if key not in self.objects:
            return 404, {}, _error("NoSuchKey")
        if version and "conditions-ignored" not in self.habits and version != self._etag(key).removeprefix("W/"):
            return 412, {}, _error("PreconditionFailed")
        content = self.objects[key]
        if wanted and "whole-ranges" not in self.habits:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            if int(first) >= len(content):
                return 416, {}, _error("InvalidRange")
            return 206, {"ETag": self._etag(key)}, content[int(first) : int(last) + 1 if last else None]
        return 200, {"ETag": self._etag(key)}, content

    def _put(self, key: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        if "no-checksums" in self.habits and any(name.startswith(_CHECKSUM_HEADERS) for name in headers):
            text = "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call."
            return 400, {}, _error("InvalidArgument", text)
        new, version = headers.get("if-none-match"), headers.get("if-match")
        if (new or version) and self.habits & {"conditions-501", "conditions-400"}:
            refused = "conditions-501" in self.habits
            return (501, {}, _error("NotImplemented")) if refused else (400, {}, _error("InvalidArgument"))
        with self._lock:
            if "conditions-ignored" not in self.habits:
                if version and key not in self.objects:
                    return 404, {}, _error("NoSuchKey")
                if (new and key in self.objects) or (version and version != self._etag(key).removeprefix("W/")):
                    return 412, {}, _error("PreconditionFailed")
            self.objects[key] = body
            return 200, {"ETag": self._etag(key)}, b""

    def _join(self, key: str, query: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Begins an upload in parts, or ends it: the parts lie beside the object until then."""
        if "uploads" in query:
            return 200, {}, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        parts = sorted(part for part in self.objects if part.startswith(f"{key}.part-"))
        self.objects[key] = b"".join(self.objects.pop(part) for part in parts)
        return 200, {}, b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"

    def _etag(self, key: str) -> str:
        weak = "W/" if "weak-etags" in self.habits else ""
        return f'{weak}"{hashlib.md5(self.objects[key]).hexdigest()}"'

    def _listing(self, query: Mapping[str, str]) -> bytes:
        token = query.get("continuation-token", "")
        keys = [key for key in sorted(self.objects) if key.startswith(query.get("prefix", "")) and key > token]
        if self.habits & {"same-token", "other-token"}:
            keys = sorted(self.objects)
        page, goes_on = keys[:PAGE_KEYS], len(keys) > PAGE_KEYS
        entries = [f"<Key>{quote(key)}</Key><Size>{len(self.objects[key])}</Size>" for key in page]
        token = f"{len(self.requests)}" if "other-token" in self.habits else escape(page[-1]) if page else ""
        following = f"<NextContinuationToken>{token}</NextContinuationToken>" if goes_on else ""
        parts: Iterable[str] = (
            "<ListBucketResult><EncodingType>url</EncodingType>",
            f"<IsTruncated>{str(goes_on).lower()}</IsTruncated>",
            "" if "no-token" in self.habits else following,
            *(f"<Contents>{entry}</Contents>" for entry in entries),
            "</ListBucketResult>",
        )
        return "".join(parts).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                store.requests.append((self.command, self.path))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                sent = {name.lower(): value for name, value in self.headers.items()}
                status, headers, answer = store.answer(self.command, unquote(parts.path), query, sent, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        for method in _METHODS:
            setattr(Handler, f"do_{method}", Handler.do)
        return Handler


def _error(code: str, message: str = "as a test wants it") -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
