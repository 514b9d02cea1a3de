import os
from pathlib import Path

import pytest

from cluster.environment import check_workers_store, use_store_environment, users_store_variable
from cluster.local import LocalCluster
from scenerec.errors import ClusterError

CLUSTER = LocalCluster(
    home=Path("/home"),
    dashboard_url="http://127.0.0.1:1",
    ray_address="127.0.0.1:2",
    store_url="http://127.0.0.1:3",
    metrics_url="http://127.0.0.1:4/metrics",
    discovery_file=Path("/home/targets.json"),
    grafana_dashboards=Path("/home/dashboards"),
    environment={},
)


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)


def test_without_variables_and_cluster_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path))
    before = dict(os.environ)
    use_store_environment()
    assert dict(os.environ) == before
    assert users_store_variable() is None


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"])
def test_the_users_own_store_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_workers_store(CLUSTER)
    monkeypatch.setenv(name, "mine")
    assert users_store_variable() == name
    with pytest.raises(ClusterError, match=f"{name} is set, but"):
        check_workers_store(CLUSTER)


@pytest.mark.parametrize("url", ["http://127.0.0.1:3", "http://127.0.0.1:3/"])
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_variables_that_lead_to_the_embedded_store_are_no_conflict(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv(name, url)
    check_workers_store(CLUSTER)
