"""What a cluster says of its applications, asked of a dashboard whose answers a test decides."""

import json
from typing import Any

import pytest

from cluster.address import Address
from cluster.applications import Applications
from cluster.client import ClusterClient
from scenerec.errors import ClusterError
from tests.patience import PATIENCE_S
from tests.web import Answer, WebServer

PATH = "/api/serve/applications/"


def told(**details: Any) -> Answer:
    """What Ray Serve says of itself."""
    return Answer(json.dumps({"applications": {}, "proxies": {}, "http_options": None, **details}).encode())


def dashboard(web: WebServer, route_prefix: str | None, **details: Any) -> Applications:
    application = {
        "name": "photos",
        "status": "DEPLOYING",
        "message": "",
        "route_prefix": route_prefix,
        "deployments": {},
    }
    web.serve(PATH, told(applications={"photos": application}, **details))
    return Applications(ClusterClient(Address(web.url)))


SERVES = {"proxies": {"node": {}}, "http_options": {"host": "0.0.0.0", "port": 8000}}


def test_an_application_has_the_address_that_it_is_asked_at(web: WebServer) -> None:
    for prefix, path in (("/", ""), ("/photos", "/photos"), (None, "")):  # None while it begins
        (found,) = dashboard(web, prefix, **SERVES).status()["applications"]
        assert found["url"] == f"http://127.0.0.1:8000{path}"


def test_without_an_endpoint_there_is_no_address(web: WebServer) -> None:
    status = dashboard(web, None).status("photos")
    assert (status["applications"][0]["url"], status["http"]) == ("-", None)


def test_the_end_of_ray_serve_is_waited_for(web: WebServer) -> None:
    """It was told to end, goes on with its proxies for a while, and cannot be asked as it ends."""
    web.serve(PATH, b"", told(**SERVES), Answer(b"no controller", status=503), told(**SERVES), told())
    Applications(ClusterClient(Address(web.url))).shut_down(PATIENCE_S)
    assert [request.method for request in web.received] == ["DELETE", *["GET"] * 4]


def test_ray_serve_that_does_not_end_is_told(web: WebServer) -> None:
    web.serve(PATH, b"", told(**SERVES))
    with pytest.raises(ClusterError, match=r"Ray Serve has not ended within 0\.2 s .* holds its ports: .* ask again"):
        Applications(ClusterClient(Address(web.url))).shut_down(0.2)
