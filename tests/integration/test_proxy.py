"""The real HAProxy, started as on a node, before a server of ours."""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from cluster import loopback, serve_proxy

ROOT = Path(__file__).parents[2]

# What Ray writes, in its essential lines.
CONFIG = """\
global
    stats socket {folder}/a.sock mode 600 level admin
    tune.bufsize 262144
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    option redispatch 1
    retry-on conn-failure empty-response
    errorfile 502 /elsewhere/500.http
    errorfile 503 /elsewhere/500.http
    errorfile 504 /elsewhere/500.http
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    server one 127.0.0.1:{server}
"""


@contextmanager
def proxy(folder: Path, port: int, server: int, **environment: str) -> Iterator[None]:
    config = folder / "haproxy.cfg"
    config.write_text(CONFIG.format(folder=folder, port=port, server=server))
    launcher = serve_proxy.write_launcher(folder)
    variables = {**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": launcher, **environment}
    with subprocess.Popen([launcher, "-db", "-f", str(config)], env=variables, stderr=subprocess.DEVNULL) as process:
        try:
            while not (folder / "a.sock").exists():
                assert process.poll() is None, "HAProxy ended"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True)
    return certificate, key


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
            answer = httpx.get(f"https://127.0.0.1:{port}/readyz", verify=trusted, trust_env=False)
            assert answer.json()["status"] == "ready"
            try:
                refused = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code
            except httpx.HTTPError:
                refused = 400
            assert refused == 400
        server.communicate()


def test_without_a_replica_the_proxy_says_so_as_our_errors_do(tmp_path: Path) -> None:
    port, nobody = loopback.free_ports(("http", "nobody")).values()
    with proxy(tmp_path, port, nobody):
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/models/x:predict", content=b"x", timeout=20, trust_env=False)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "not_ready"
