from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[2] / "ray-cluster.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    validate_config(prepare_config(config))


def test_ray_would_refuse_an_unknown_key(config: dict[str, Any]) -> None:
    config["available_node_types"]["gpu"]["min_wrokers"] = 1
    with pytest.raises(Exception, match="min_wrokers"):
        validate_config(prepare_config(config))


def test_the_head_trains_nothing(config: dict[str, Any]) -> None:
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_workers_come_and_go_within_the_limit(config: dict[str, Any]) -> None:
    group = config["available_node_types"]["gpu"]
    assert 0 <= group["min_workers"] <= group["max_workers"] <= config["max_workers"]


def test_no_credentials_and_mounted_files_exist(config: dict[str, Any]) -> None:
    assert "AWS_SECRET" not in FILE.read_text()
    for node_type in config["available_node_types"].values():
        assert node_type["node_config"]["IamInstanceProfile"]["Name"]
    for source in config["file_mounts"].values():
        assert (FILE.parent / source).exists()
