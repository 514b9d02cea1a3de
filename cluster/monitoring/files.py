"""The files by which Prometheus and Grafana watch one cluster."""

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cluster.address import TARGETS_PATH
from cluster.monitoring.dashboards import DASHBOARDS, DATA_SOURCE_UID, grafana_json
from scenerec.errors import ClusterError
from scenerec.json_object import JsonObject

PROMETHEUS_URL = "http://127.0.0.1:9090"
GRAFANA_URL = "http://127.0.0.1:3000"

_RULES = Path(__file__).parent / "rules.yml"
_TOKEN = "token"
_REFRESH = "30s"


@dataclass(frozen=True)
class Targets:
    """Where Prometheus learns which nodes there are."""

    discovery_file: Path | None = None
    """File that Ray keeps up to date on the head node; None where this is another machine."""
    dashboard_url: str = ""
    """Address of the dashboard, which tells the same."""
    token: str = field(default="", repr=False)
    """Ray's token, where the dashboard asks for one."""
    ray_dashboards: Path | None = None
    """Folder of the Grafana dashboards that Ray itself brings; None where this is another machine."""


def write_files(folder: Path, targets: Targets, replace: bool = False) -> list[Path]:
    """Writes all of them to `folder` and returns their paths.

    Raises ClusterError where one is there already and is not to be replaced, and where nothing can be written.
    """
    files = {folder / name: content for name, content in _contents(folder, targets).items()}
    if there := None if replace else next(filter(Path.exists, files), None):
        raise ClusterError(f"{there}: is there already: name another folder, or add --replace, which undoes edits")
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o600 if path.name == _TOKEN else 0o644
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
                file.write(content)
    except OSError as error:
        raise ClusterError(f"{folder}: cannot be written: {error.strerror}") from None
    return list(files)


def start_commands(folder: Path) -> tuple[str, str]:
    """The command lines that start Prometheus and Grafana with the files of `folder`."""
    place = shlex.quote(str(folder))
    return (
        f"prometheus --config.file={place}/prometheus.yml --storage.tsdb.path={place}/data "
        f"--web.listen-address={PROMETHEUS_URL.removeprefix('http://')}",
        f"GF_SERVER_HTTP_ADDR=127.0.0.1 GF_PATHS_PROVISIONING={place}/grafana/provisioning "
        "grafana server --homepath /usr/share/grafana",
    )


def _contents(folder: Path, targets: Targets) -> dict[str, str]:
    """The files' contents, by their paths below `folder`."""
    dashboards = {
        f"grafana/dashboards/{each.name}.json": json.dumps(grafana_json(each), indent=2) for each in DASHBOARDS
    }
    return {
        "prometheus.yml": _yaml(_prometheus(folder, targets)),
        "rules.yml": _RULES.read_text(),
        **({_TOKEN: targets.token} if targets.token else {}),
        "grafana/provisioning/datasources/prometheus.yml": _yaml(_data_source()),
        "grafana/provisioning/dashboards/scenerec.yml": _yaml(_providers(folder, targets)),
        **dashboards,
    }


def _prometheus(folder: Path, targets: Targets) -> JsonObject:
    discovery: JsonObject
    if targets.discovery_file:
        discovery = {"file_sd_configs": [{"files": [str(targets.discovery_file)], "refresh_interval": _REFRESH}]}
    else:
        http: JsonObject = {"url": f"{targets.dashboard_url}{TARGETS_PATH}", "refresh_interval": _REFRESH}
        if targets.token:
            http["authorization"] = {"credentials_file": str(folder / _TOKEN)}
        discovery = {"http_sd_configs": [http]}
    return {
        "global": {"scrape_interval": "10s", "evaluation_interval": "30s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {
                "job_name": "ray",
                **discovery,
                "metric_relabel_configs": [{"action": "labeldrop", "regex": "otel_scope_.*"}],  # the same for all
            }
        ],
    }


def _data_source() -> JsonObject:
    source = {"name": "Prometheus", "uid": DATA_SOURCE_UID, "type": "prometheus", "url": PROMETHEUS_URL}
    return {"apiVersion": 1, "datasources": [{**source, "access": "proxy", "isDefault": True}]}


def _providers(folder: Path, targets: Targets) -> JsonObject:
    folders = {"scenerec": folder / "grafana" / "dashboards", "Ray": targets.ray_dashboards}
    providers = [
        {"name": name, "folder": name, "type": "file", "options": {"path": str(path)}}
        for name, path in folders.items()
        if path
    ]
    return {"apiVersion": 1, "providers": providers}


def _yaml(content: JsonObject) -> str:
    return yaml.safe_dump(content, sort_keys=False)
