"""A proxy before an object store, which does to its answers what networks and stores do on bad days."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.kept_port import keep_port, port_of
from tests.odd_store import OddStore

_METHODS = ("GET", "HEAD", "PUT", "DELETE", "POST")
_NOT_PASSED_ON = frozenset({"connection", "expect", "transfer-encoding", "content-length"})
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what closes now resets the connection
_SLOW_PIECES_PER_S = 20


@dataclass(frozen=True)
class Fault:
    """What befalls a request whose path holds `path`, by one of `methods`."""

    status: int = 0
    """Answered with in place of the store's answer."""
    code: str = ""
    """Of S3, in the XML of such an answer."""
    hangs: bool = False
    """The request is taken, and nothing said for as long as this fault holds."""
    cut_after_bytes: int | None = None
    """Bytes of the body after which the connection is reset; the length promised is that of all of it."""
    truncated_to_bytes: int | None = None
    """Bytes of the body that are sent, and promised: nothing tells that there were more."""
    altered_byte: int | None = None
    """Which byte of the body is another one."""
    bytes_per_s: float | None = None
    """Speed of the body."""
    times: int | None = None
    """How many requests it befalls; None for all."""
    path: str = ""
    methods: tuple[str, ...] = _METHODS


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    allow_reuse_port = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Closes it; socketserver would send an end of the stream first, even where the connection is to be reset."""
        self.close_request(request)

    def close_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self.open.discard(request)
        super().close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections end badly here: that is no news."""


class FaultyProxy:
    """Passes all requests on to the store at `store_url`; `fault` may be set, and reset, at any time.

    It listens on the address `host`.
    """

    def __init__(self, store_url: str, host: str = "127.0.0.1") -> None:
        self.store = urlsplit(store_url).netloc
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and range of all that came."""
        self.leaves_at = ""
        """Part of a path, at the first request for which it leaves; the request is not answered."""
        self._fault: Fault | None = None
        self._befallen = 0
        self._lock = threading.Lock()
        self._keeper = keep_port(host)
        self._address = (host, port_of(self._keeper))
        self._server = _Server(self._address, self._handler())
        self.url = f"http://{host}:{self._address[1]}"

    @property
    def fault(self) -> Fault | None:
        """What befalls requests now."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        with self._lock:
            self._fault, self._befallen = fault, 0

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(self, *_: object) -> None:
        self.fault = None
        self.leave()
        self._keeper.close()

    def leave(self) -> None:
        """From now on connections are refused; those that are open are reset."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.open):
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Listens again where it did."""
        self._server = _Server(self._address, self._handler())
        self._serve()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Is not there for a while."""
        self.leave()
        yield
        self.come_back()

    def _serve(self) -> None:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def _befalling(self, method: str, path: str) -> Fault | None:
        with self._lock:
            fault = self._fault
            if fault is None or method not in fault.methods or fault.path not in path:
                return None
            self._befallen += 1
            return fault if fault.times is None or self._befallen <= fault.times else None

    def _ask_store(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.store)
        try:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if proxy.leaves_at and proxy.leaves_at in self.path:
                    proxy.leaves_at = ""
                    self.close_connection = True
                    proxy.leave()
                    return
                fault = proxy._befalling(self.command, self.path)
                proxy.requests.append((self.command, self.path, self.headers.get("Range", "")))
                while fault and fault.hangs and proxy.fault is fault:
                    time.sleep(0.01)
                if fault and fault.hangs:
                    self.close_connection = True
                elif fault and fault.status:
                    error = f"<Error><Code>{fault.code}</Code></Error>".encode() if fault.code else b""
                    self.begin(fault.status, {"Content-Type": "application/xml"}, len(error))
                    self.wfile.write(error if self.command != "HEAD" else b"")
                else:
                    self.pass_on(*proxy._ask_store(self, body), fault or Fault())

            def pass_on(self, answer: http.client.HTTPResponse, body: bytes, fault: Fault) -> None:
                if fault.altered_byte is not None and fault.altered_byte < len(body):
                    changed = bytearray(body)
                    changed[fault.altered_byte] ^= 1
                    body = bytes(changed)
                body = body[: fault.truncated_to_bytes]
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
                is_head = self.command == "HEAD"
                self.begin(answer.status, kept, int(answer.headers.get("Content-Length", 0)) if is_head else len(body))
                sent = body[: fault.cut_after_bytes]
                piece = int(fault.bytes_per_s / _SLOW_PIECES_PER_S) if fault.bytes_per_s else len(sent) or 1
                for first in range(0, len(sent), max(piece, 1)):
                    self.wfile.write(sent[first : first + piece])
                    if fault.bytes_per_s:
                        time.sleep(1 / _SLOW_PIECES_PER_S)
                if len(sent) < len(body):
                    while not _is_read(self.connection):  # a reset overtakes what lies in buffers
                        time.sleep(0.01)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self.close_connection = True

            def begin(self, status: int, headers: dict[str, str], length: int) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        for method in _METHODS:
            setattr(Handler, f"do_{method}", Handler.do)
        return Handler


def _is_read(connection: socket.socket) -> bool:
    """Whether the other end has taken all that was sent to it, by the kernel's account, or is there no more."""
    try:
        here, there = (f"0100007F:{address[1]:04X}" for address in (connection.getsockname(), connection.getpeername()))
    except OSError:
        return True
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local, remote, _, queues, *_ = line.split()
        unsent, _, unread = queues.partition(":")
        waiting = {(here, there): unsent, (there, here): unread}.get((local, remote), "0")
        if int(waiting, 16):
            return False
    return True


@contextmanager
def faulty_store() -> Iterator[tuple[OddStore, FaultyProxy]]:
    """A store on the loopback with the bucket `bucket`, and the proxy before it, which the environment names."""
    with OddStore() as store, FaultyProxy(store.url) as proxy, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield store, proxy
