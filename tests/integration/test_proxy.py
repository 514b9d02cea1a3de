"""The real HAProxy, started as on a node, before a server of ours."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from cluster import loopback, serve_proxy
from serve.oip.grpc_methods import SERVICE
from tests.patience import PATIENCE_S, wait_until
from tests.tls import make_certificate
from tests.web import WebServer

ROOT = Path(__file__).parents[2]

# What Ray writes, in its essential lines.
CONFIG = """\
global
    stats socket {folder}/a.sock mode 600 level admin
    tune.bufsize 262144
defaults
    mode http
    timeout connect 60s
    timeout client 120s
    timeout server 120s
    option redispatch 1
    retry-on {retry_on}
    retries {retries}
    errorfile 502 /elsewhere/500.http
    errorfile 503 /elsewhere/500.http
    errorfile 504 /elsewhere/500.http
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    server one 127.0.0.1:{server} check inter 60s observe layer4 error-limit 3 on-error mark-down
"""


GRPC_CONFIG = """\
frontend grpc_frontend
    bind 127.0.0.1:{grpc} proto h2
    default_backend grpc_replicas
backend grpc_replicas
    server one 127.0.0.1:{one} proto h2
    server two 127.0.0.1:{two} proto h2
"""

# Whoever gets the first call keeps it, and says who it is; the other calls are answered with their length.
GRPC_SERVER = """
import os, sys, time, grpc
from concurrent import futures

def answer(request, context):
    try:
        os.write(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL | os.O_WRONLY), str(os.getpid()).encode())
    except FileExistsError:
        return str(len(request)).encode()
    time.sleep(600)

class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(answer)

server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Handler(),))
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
print("up", flush=True)
sys.stdin.read()
"""


@contextmanager
def proxy(folder: Path, port: int, server: int, more: str = "", **environment: str) -> Iterator[None]:
    config = folder / "haproxy.cfg"
    ours = serve_proxy.environment(folder)
    retried = {"retry_on": ours["RAY_SERVE_HAPROXY_RETRY_ON"], "retries": ours["RAY_SERVE_HAPROXY_RETRIES"]}
    config.write_text(CONFIG.format(folder=folder, port=port, server=server, **retried) + more)
    launcher = serve_proxy.write_launcher(folder)
    variables = {**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": launcher, **environment}
    with subprocess.Popen([launcher, "-db", "-f", str(config)], env=variables, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(folder / "a.sock") or process.poll() is not None, "HAProxy")
            assert process.poll() is None, "HAProxy ended"
            yield
        finally:
            process.terminate()


def answers(stats: Path) -> bool:
    """Whether HAProxy answers at its socket: the file is there before it listens at its ports, an answer after."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(stats))
        connection.sendall(b"show info\n")
        return bool(connection.recv(1))
    return False


def test_with_a_certificate_the_endpoint_speaks_tls_alone(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    (port,) = loopback.free_ports(("http",)).values()
    command = [sys.executable, "-m", "tests.tiny_server", str(tmp_path / "served")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        behind = json.loads(server.stdout.readline())["http"]
        variables = {serve_proxy.CERTIFICATE: str(certificate), serve_proxy.KEY: str(key)}
        with proxy(tmp_path, port, behind, **variables):
            trusted = ssl.create_default_context(cafile=certificate)
            answer = httpx.get(f"https://127.0.0.1:{port}/readyz", verify=trusted, timeout=PATIENCE_S, trust_env=False)
            assert answer.json()["status"] == "ready"
            try:
                refused = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE_S, trust_env=False).status_code
            except httpx.HTTPError:
                refused = 400
            assert refused == 400
        server.communicate()


def test_with_a_certificate_grpc_is_spoken_by_tls_alone(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    port, nobody, grpc_port, one, two = loopback.free_ports(("http", "nobody", "grpc", "one", "two")).values()
    variables = {serve_proxy.CERTIFICATE: str(certificate), serve_proxy.KEY: str(key)}
    more = GRPC_CONFIG.format(grpc=grpc_port, one=one, two=two)
    (tmp_path / "taken").write_text("0")  # nobody keeps a call
    with grpc_servers(tmp_path / "taken", one), proxy(tmp_path, port, nobody, more, **variables):
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{grpc_port}", trusted) as channel:
            assert channel.unary_unary(f"/{SERVICE}/ModelInfer")(bytes(70_000), timeout=PATIENCE_S) == b"70000"
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(f"/{SERVICE}/ModelInfer")(b"", timeout=PATIENCE_S)


def test_without_a_replica_the_proxy_says_so_as_our_errors_do(tmp_path: Path) -> None:
    port, nobody = loopback.free_ports(("http", "nobody")).values()
    with proxy(tmp_path, port, nobody):
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/models/x:predict", content=b"x", timeout=PATIENCE_S, trust_env=False
        )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "not_ready"


def test_a_dying_server_that_still_takes_connections_does_not_use_up_the_tries(tmp_path: Path) -> None:
    """As the kernel closes a killed process: connections first, the port a little later; here after six requests."""
    (port,) = loopback.free_ports(("http",)).values()
    with socket.create_server(("127.0.0.1", 0)) as dying, WebServer() as fallback:
        fallback.serve("/", b"answered")

        def die() -> None:
            taken = 0
            while taken < 6:
                connection, _ = dying.accept()
                with connection, suppress(ConnectionResetError):  # HAProxy's check sends nothing, or resets
                    taken += bool(connection.recv(1 << 16))
            dying.close()

        last_resort = f"    server fallback {fallback.url.removeprefix('http://')} backup\n"
        with proxy(tmp_path, port, dying.getsockname()[1], last_resort), ThreadPoolExecutor(1) as pool:
            died = pool.submit(die)
            answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S, trust_env=False)
            died.result(timeout=PATIENCE_S)
    assert (answer.status_code, answer.content) == (200, b"answered")


@contextmanager
def grpc_servers(taken: Path, *ports: int) -> Iterator[None]:
    """GRPC_SERVER on each port; whoever makes the file `taken` keeps its call."""
    command = [sys.executable, "-c", GRPC_SERVER]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    servers = [subprocess.Popen([*command, str(port), str(taken)], **pipes) for port in ports]
    try:
        for each in servers:
            assert each.stdout is not None and each.stdout.readline() == "up\n"
        yield
    finally:
        for each in servers:
            each.kill()
            each.communicate()


def test_a_long_grpc_call_that_a_killed_server_had_is_answered_by_another(tmp_path: Path) -> None:
    port, nobody, grpc_port, one, two = loopback.free_ports(("http", "nobody", "grpc", "one", "two")).values()
    taken = tmp_path / "taken"
    more = GRPC_CONFIG.format(grpc=grpc_port, one=one, two=two)
    with (
        grpc_servers(taken, one, two),
        proxy(tmp_path, port, nobody, more),
        grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
    ):
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        call = infer.future(bytes(200_000), timeout=PATIENCE_S)  # HTTP/2 sends the first 64 KB at once
        wait_until(lambda: call.done() or (taken.exists() and bool(taken.read_text())), "a server that has the call")
        assert not call.done()
        os.kill(int(taken.read_text()), signal.SIGKILL)
        assert call.result() == b"200000"
