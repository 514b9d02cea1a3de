"""The endpoint of a cluster, seen from the node: whether its ports can be had, and whether it is what answers there."""

import socket
import ssl
import time
from contextlib import suppress

from cluster import loopback
from scenerec.config.serve import HttpConfig
from scenerec.errors import ClusterError

_REQUEST_TIMEOUT_S = 10.0
_EVERY = ("0.0.0.0", "::")
_SERVER_LIVE = "/inference.GRPCInferenceService/ServerLive"
_LIVE = b"\x08\x01"
"""The answer in protobuf: field 1, `live`, is true."""


def check_ports(http: HttpConfig, host: str) -> None:
    """Raises ClusterError where the endpoint's ports are taken on this machine; it names who has them, and the remedy.

    Args:
        http: names the ports.
        host: interface that the endpoint shall listen on.
    """
    if http.port == http.grpc_port:
        raise ClusterError(f"http.grpc_port: {http.port} is http.port, too: give one of them another")
    for field, port in (("http.port", http.port), ("http.grpc_port", http.grpc_port)):
        if port is not None and (reason := loopback.why_taken(host, port)):
            others = (other for other in range(port + 1, 65536) if other not in (http.port, http.grpc_port))
            free = next((other for other in others if not loopback.why_taken(host, other)), "N")
            raise ClusterError(f"{field}: {port}: {reason}: end it, or take another port: --set {field}={free}")


def await_answer(
    http: HttpConfig, host: str, grpc_port: int | None, application: str, speaks_tls: bool, patience_s: float = 180.0
) -> None:
    """Waits until the endpoint on this machine answers for an application, by HTTP and by gRPC.

    Args:
        http: the port and the path of the application.
        host: interface that the endpoint listens on.
        grpc_port: of the endpoint; None where it has no gRPC.
        application: its name, by which gRPC's calls find it.
        speaks_tls: whether the endpoint wants TLS. Its certificate is not judged: it may be of a name that leads here
            from outside alone.
        patience_s: how long to ask, in seconds.

    Raises:
        ClusterError: something else answers, or nothing does.
    """
    host = "127.0.0.1" if host in _EVERY else host
    deadline = time.monotonic() + patience_s
    while problem := (
        _http_problem(http, host, speaks_tls)
        or (grpc_port is not None and _grpc_problem(host, grpc_port, application, speaks_tls))
    ):
        if time.monotonic() > deadline:
            listener = loopback.why_taken(host, http.port) or "nothing listens there"
            raise ClusterError(f"{application} runs, but cannot be asked: {problem} ({listener})")
        time.sleep(0.3)


def _http_problem(http: HttpConfig, host: str, speaks_tls: bool) -> str | None:
    import httpx  # not where only the ports are checked

    prefix = http.route_prefix.rstrip("/")
    url = f"http{'s' if speaks_tls else ''}://{host}:{http.port}{prefix}/readyz"
    try:
        answer = httpx.get(url, verify=False, trust_env=False, timeout=_REQUEST_TIMEOUT_S)
    except httpx.HTTPError as error:
        return f"{url}: {error or type(error).__name__}"
    with suppress(ValueError, TypeError, KeyError):
        if answer.status_code == 200 and answer.json()["status"] == "ready":
            return None
    return f"{url}: {answer.status_code} from {answer.headers.get('server', 'another program')}"


def _grpc_problem(host: str, port: int, application: str, speaks_tls: bool) -> str | None:
    if speaks_tls:
        return _tls_problem(host, port)
    import grpc

    with grpc.insecure_channel(f"{host}:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary(_SERVER_LIVE)
        try:
            answer = call(b"", timeout=_REQUEST_TIMEOUT_S, metadata=(("application", application),))
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return f"gRPC at {host}:{port}: {error.code().name}: {error.details()}"
    return None if answer == _LIVE else f"gRPC at {host}:{port}: another program answers"


def _tls_problem(host: str, port: int) -> str | None:
    """gRPC's own client would judge the certificate; that HTTP/2 is agreed on says enough."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host, port), _REQUEST_TIMEOUT_S) as connection:
            agreed = context.wrap_socket(connection, server_hostname=host).selected_alpn_protocol()
    except OSError as error:
        return f"gRPC at {host}:{port}: {error}"
    return None if agreed == "h2" else f"gRPC at {host}:{port}: another program answers"
