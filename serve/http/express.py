"""A shorter way of HTTP requests through a replica: past what Ray Serve does around each of them.

For every request Ray Serve looks for a route, fills a record and a context, enters several context managers and keeps
its own statistics, on the event loop that all requests of the replica share: 0.3 to 0.8 ms of processor time, more than
our interface takes itself. It lets a function name middlewares of its HTTP servers (ASGI applications around an
application). Ours answers in its stead; what Ray Serve did for a replica is done in other ways:

- how busy it is, for the autoscaling: `serve.replica.Replica.record_autoscaling_stats`;
- too many requests at once: `serve.access.admission.Load`, which refuses them;
- requests under way when it is to go: its HTTP server waits for them by itself;
- metrics and the access log: `serve.telemetry`. Ray Serve's own `serve_*` metrics know nothing of these requests.

gRPC, and what Ray Serve's own proxy brings, goes the long way.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

VARIABLES = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.http.express.middlewares"}
"""Environment variables of a replica that make Ray Serve ask `middlewares`. They are not for a node: other programs'
replicas and proxies would look for this module."""

_RAYS_OWN = "/-/"
"""Below it are probes that HAProxy sends to Ray Serve."""

_middlewares: list[Middleware] = []
"""The middlewares of this process, which is one replica."""


class Express:
    """The middleware that answers what is ours, and leaves the rest to Ray Serve.

    Args:
        app: Ray Serve.
        api: what answers instead.
        route_prefix: of the application; what is not below it is left to Ray Serve.
    """

    def __init__(self, app: ASGIApp, api: ASGIApp, route_prefix: str) -> None:
        self._app = app
        self._api = api
        self._root = route_prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection (ASGI 3)."""
        path = scope.get("path", "")
        is_ours = path == self._root or path.startswith(f"{self._root}/")
        if is_ours and not path.startswith(_RAYS_OWN):
            scope["root_path"] = self._root
            await self._api(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """The middlewares of this replica; Ray Serve asks once the application is built and before it listens."""
    return _middlewares


def open_way(api: ASGIApp, route_prefix: str) -> None:
    """Requests go straight to `api` from now on."""
    _middlewares[:] = [Middleware(Express, api, route_prefix)]
