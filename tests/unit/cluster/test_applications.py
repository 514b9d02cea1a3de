"""What a cluster says of its applications, asked of a dashboard whose answers a test decides."""

import json
from typing import Any

from cluster.address import Address
from cluster.applications import Applications
from cluster.client import ClusterClient
from tests.web import Answer, WebServer

PATH = "/api/serve/applications/"


def dashboard(web: WebServer, route_prefix: str | None, **details: Any) -> Applications:
    application = {
        "name": "photos",
        "status": "DEPLOYING",
        "message": "",
        "route_prefix": route_prefix,
        "deployments": {},
    }
    told = {"applications": {"photos": application}, "proxies": {}, "http_options": None, **details}
    web.serve(PATH, Answer(json.dumps(told).encode()))
    return Applications(ClusterClient(Address(web.url)))


SERVES = {"proxies": {"node": {}}, "http_options": {"host": "0.0.0.0", "port": 8000}}


def test_an_application_has_the_address_that_it_is_asked_at(web: WebServer) -> None:
    for prefix, path in (("/", ""), ("/photos", "/photos"), (None, "")):  # None while it begins
        (found,) = dashboard(web, prefix, **SERVES).status()["applications"]
        assert found["url"] == f"http://127.0.0.1:8000{path}"


def test_without_an_endpoint_there_is_no_address(web: WebServer) -> None:
    status = dashboard(web, None).status("photos")
    assert (status["applications"][0]["url"], status["http"]) == ("-", None)
