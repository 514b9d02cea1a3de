"""The endpoint as KubeRay brings it up: Ray Serve is sent the config that the manifest holds, and no job deploys it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

import scenerec
from cluster import loopback
from cluster.local import LocalCluster
from scenerec.client import Client
from scenerec.inference.bundles.registry import Registry
from tests.patience import PATIENCE_S, wait_until
from tests.served import PICTURES, command, status_when
from tests.tiny_bundle import make_tiny_bundle

MANIFEST = Path(scenerec.__file__).parents[1] / "cluster/kuberay/serving/rayservice.yaml"
REGISTRY = "s3://scenes/service-models"


class Dashboard:
    """What KubeRay's operator asks of a cluster."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._url = f"{cluster.dashboard_url}/api/serve/applications/"
        self._headers = {"Authorization": f"Bearer {cluster.environment['RAY_AUTH_TOKEN']}"}

    def put(self, config: dict[str, Any]) -> None:
        answer = requests.put(self._url, json=config, headers=self._headers, timeout=PATIENCE_S)
        assert answer.ok, answer.text

    def runs(self, application: str) -> bool:
        details = self._details()["applications"][application]
        assert details["status"] != "DEPLOY_FAILED", details["message"]
        return details["status"] == "RUNNING"

    def message(self, application: str) -> str:
        return self._details()["applications"][application]["message"]

    def _details(self) -> dict[str, Any]:
        return requests.get(self._url, headers=self._headers, timeout=PATIENCE_S).json()


@pytest.fixture
def config(cluster: LocalCluster, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The manifest's, on the ports and with the models of this cluster."""
    registry = Registry(REGISTRY)
    registry.push(make_tiny_bundle(tmp_path / "1"), "tiny")
    registry.push(make_tiny_bundle(tmp_path / "2", scale=0.1), "tiny")
    registry.move("tiny", "production", 1, "test", None)
    ports = loopback.free_ports(("http", "grpc"))
    found = yaml.safe_load(yaml.safe_load(MANIFEST.read_text())["spec"]["serveConfigV2"])
    found["http_options"] = {"host": "127.0.0.1", "port": ports["http"]}
    found["grpc_options"]["port"] = ports["grpc"]
    args = found["applications"][0]["args"]
    args |= {"registry": REGISTRY, "models": [{"name": "tiny", "version": "tiny@production"}]}
    args |= {"http": {"port": ports["http"], "grpc_port": ports["grpc"]}, "rollout": {"poll_s": 0.5}}
    args["scale"] = {"min_replicas": 1, "max_replicas": 1}
    yield found
    command("serve", "stop", args["name"])


def test_the_config_of_the_manifest_serves_and_follows_the_registry(
    config: dict[str, Any], cluster: LocalCluster
) -> None:
    dashboard, name = Dashboard(cluster), config["applications"][0]["name"]
    dashboard.put(config)
    wait_until(lambda: dashboard.runs(name))
    url = f"http://127.0.0.1:{config['http_options']['port']}"
    # As the manifest's readiness probe does: Ray says that it runs some time before the proxy knows it.
    wait_until(lambda: loopback.get(f"{url}/-/healthz") is not None, "a proxy that knows the application")
    with Client(url) as client:
        answer = client.predict("tiny", PICTURES["green"])
        assert (answer.classes[0].label, answer.version) == ("green", "1")
        Registry(REGISTRY).move("tiny", "production", 2, "test", 1)
        wait_until(lambda: client.predict("tiny", PICTURES["green"]).version == "2")
    status_when(name, lambda found: found["models"]["tiny"]["serving"][0]["number"] == "2")
    config["applications"][0]["args"]["scale"]["max_replicas"] = 0
    dashboard.put(config)
    wait_until(lambda: "scale.max_replicas: must be at least 1" in dashboard.message(name))
    with Client(url) as client:
        assert client.predict("tiny", PICTURES["blue"]).classes[0].label == "blue"
