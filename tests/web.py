"""A web server on the loopback, whose answers a test decides."""

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.kept_port import keep_port, port_of


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    body: bytes = b""
    status: int = 200
    sent_bytes: int | None = None
    """Of the body, before the connection ends; None for all. The length that is promised is that of the body."""
    location: str | None = None
    """Where a redirect leads."""
    headers: Mapping[str, str] = field(default_factory=dict)
    drips_s: float | None = None
    """Between one byte of the body and the next."""
    hangs_up: bool = False
    """Whether the connection is closed instead, without a word, once the request was read."""


@dataclass(frozen=True)
class Request:
    """What came."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


Reply = Answer | Callable[[Request], Answer]
"""A callable is called once the request was read, from a thread of the connection's own: it may wait."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    allow_reuse_port = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is a test's affair, no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class WebServer:
    """Serves `answers`: by path a list, of which the last goes on answering.

    `requests` lists the paths asked for, `received` the same in full. Connections are kept, as HTTP/1.1 does.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Reply]] = defaultdict(lambda: [Answer(status=404)])
        self.requests: list[str] = []
        self.received: list[Request] = []
        self._port = keep_port()
        self._server = _Server(("127.0.0.1", port_of(self._port)), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def serve(self, path: str, *answers: Reply | bytes) -> str:
        """Sets the answers of a path; returns its URL."""
        self.answers[path] = [Answer(each) if isinstance(each, bytes) else each for each in answers]
        return self.url + path

    def __enter__(self) -> "WebServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._port.close()

    def stop(self) -> None:
        """From now on connections are refused."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else a kept connection waits for 40 ms between headers and body

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                web.requests.append(self.path)
                request = Request(self.command, self.path, headers, body)
                web.received.append(request)
                answers = web.answers[self.path.partition("?")[0]]
                reply = answers.pop(0) if len(answers) > 1 else answers[0]
                answer = reply if isinstance(reply, Answer) else reply(request)
                if answer.hangs_up:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                if answer.location:
                    self.send_header("Location", answer.location)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                if answer.drips_s is None:
                    self.wfile.write(answer.body[: answer.sent_bytes])
                else:
                    for byte in answer.body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(answer.drips_s)
                self.close_connection |= answer.sent_bytes is not None

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None: ...

        return Handler
