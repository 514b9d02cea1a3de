"""The files for `ray up` and the units of systemd: Ray and systemd accept them, and what they install is there."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import scenerec
from tests.patience import PATIENCE_S

ROOT = Path(scenerec.__file__).parents[1]
CLOUDS = ("ray-cluster.yaml", "cluster/launcher/gcp.yaml")
LAUNCHERS = (*CLOUDS, "cluster/launcher/on-premises.yaml")
MADE = {"./dist": "wheel:", "./node.env": "cluster/systemd/node.env"}
"""What is mounted and lies in no checkout: by what it is made, a target of the Makefile or a file to copy."""


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_accepts_it(name: str) -> None:
    validate_config(prepare_config(read(name)))


def test_ray_would_refuse_an_unknown_key() -> None:
    config = read("ray-cluster.yaml")
    config["available_node_types"]["gpu"]["min_wrokers"] = 1
    with pytest.raises(Exception, match="min_wrokers"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_head_trains_nothing_and_nodes_are_tuned(name: str) -> None:
    config = read(name)
    (start,) = (line for line in config["head_start_ray_commands"] if "ray start" in line)
    types = config.get("available_node_types", {})
    assert "--num-cpus=0" in start or types[config["head_node_type"]]["resources"] == {"CPU": 0}
    for command in (start, config["worker_start_ray_commands"][-1]):
        assert 'eval "$(scenerec cluster serve-env)"' in command and "ulimit -n 65536" in command


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_come_and_go_within_the_limit(name: str) -> None:
    config = read(name)
    group = config["available_node_types"]["gpu"]
    assert 0 <= group["min_workers"] <= group["max_workers"] <= config["max_workers"]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_it_installs_is_what_make_wheel_has_made(name: str) -> None:
    """No index has scenerec, and no system's Python need be the one that it asks for."""
    config = read(name)
    makefile = (ROOT / "Makefile").read_text()
    for source in config["file_mounts"].values():
        maker = MADE[source]
        assert re.search(f"^{maker}", makefile, re.MULTILINE) if maker.endswith(":") else (ROOT / maker).is_file()
    (install,) = (line for line in config["setup_commands"] if "scenerec-*.whl" in line)
    assert "~/dist/scenerec-*.whl" in install and "-c ~/dist/constraints.txt" in install
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    (version,) = re.findall(r"uv venv .*--python (\S+)", "\n".join(config["setup_commands"]))
    assert python.startswith(f">={version},")


def test_no_credentials_are_in_them() -> None:
    assert all("AWS_SECRET" not in (ROOT / name).read_text() for name in LAUNCHERS)
    for node_type in read("ray-cluster.yaml")["available_node_types"].values():
        assert node_type["node_config"]["IamInstanceProfile"]["Name"]


def units() -> list[Path]:
    return sorted((ROOT / "cluster/systemd").glob("*.service"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    assert len(units()) == 2
    verify = ["systemd-analyze", "verify"]
    done = subprocess.run([*verify, *units()], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "wrong.service").write_text(units()[0].read_text().replace("Restart=always", "Restart=alwyas"))
    done = subprocess.run([*verify, tmp_path / "wrong.service"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert "alwyas" in done.stderr


@pytest.mark.parametrize("unit", units(), ids=lambda unit: unit.stem)
def test_a_node_that_ended_is_started_again(unit: Path) -> None:
    """Ray ends one that was cut off for a minute. --block: else systemd would see it end at once."""
    text = unit.read_text()
    assert "\nRestart=always\n" in text and "\nStartLimitIntervalSec=0\n" in text and "ray start --" in text
    (start,) = re.findall(r"^ExecStart=.*$", text, re.MULTILINE)
    assert "--block" in start and 'eval "$(scenerec cluster serve-env)"' in start


def test_the_units_find_their_variables() -> None:
    lines = (ROOT / "cluster/systemd/node.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert variables["RAY_AUTH_MODE"] == "token"
    used = {name for unit in units() for name in re.findall(r"\$(\w+)", unit.read_text())}
    assert used == {"SCENEREC_HEAD"} and used <= variables.keys()
