"""The files for Prometheus and Grafana."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cluster.monitoring.dashboards import DASHBOARDS, DATA_SOURCE_UID, Dashboard, grafana_json
from cluster.monitoring.files import Targets, start_commands, write_files
from jobs.run_gauges import RUN_GAUGES
from jobs.search_gauges import SEARCH_GAUGES
from scenerec.cli import app
from scenerec.errors import ClusterError
from tests.monitoring import RULES, documented, metrics_in, promtool

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.name)


def expressions() -> list[str]:
    return [expression for each in DASHBOARDS for panel in each.panels for expression, _ in panel.expressions]


def rules() -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_the_docs_name_every_gauge_of_trainings_and_searches() -> None:
    assert documented() >= RUN_GAUGES.keys() | SEARCH_GAUGES.keys()


def test_what_is_drawn_and_warned_of_is_documented() -> None:
    used = metrics_in(" ".join([*expressions(), *(rule["expr"] for rule in rules())]))
    recorded = metrics_in(" ".join(rule["record"] for rule in rules() if "record" in rule))
    assert used - recorded <= documented()
    assert used >= RUN_GAUGES.keys() | SEARCH_GAUGES.keys()  # none is exported that nobody looks at


def test_an_expression_is_written_once() -> None:
    assert len(set(expressions())) == len(expressions())
    shared = {rule["expr"] for rule in rules()} & set(expressions())
    assert not shared  # what an alert and a dashboard ask alike is recorded


@each_dashboard
def test_a_dashboard_is_one_of_grafanas(dashboard: Dashboard) -> None:
    model = grafana_json(dashboard)
    panels = model["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(taken)) == len(taken) and all(x + panels[0]["gridPos"]["w"] <= 24 for x, _ in taken)
    for panel in panels:
        assert panel["datasource"]["uid"] == DATA_SOURCE_UID
        assert [target["refId"] for target in panel["targets"]] == list("ABC")[: len(panel["targets"])]
    chosen = {
        name for panel in dashboard.panels for text, _ in panel.expressions for name in re.findall(r"\$(\w+)", text)
    }
    assert chosen - {"__rate_interval"} == ({dashboard.variable} if dashboard.variable else set())


def test_the_files_lead_prometheus_to_the_nodes(tmp_path: Path) -> None:
    (tmp_path / "targets.json").write_text("[]")
    write_files(tmp_path / "here", Targets(tmp_path / "targets.json", ray_dashboards=tmp_path / "ray"))
    written = write_files(tmp_path / "there", Targets(dashboard_url="http://10.0.0.1:8265", token="secret"))
    for name in ("here", "there"):
        assert "SUCCESS" in promtool("check", "config", "prometheus.yml", folder=tmp_path / name)
    token = tmp_path / "there" / "token"
    assert token in written and token.read_text() == "secret" and token.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load((tmp_path / "there/prometheus.yml").read_text())
    (discovery,) = config["scrape_configs"][0]["http_sd_configs"]
    assert discovery["url"] == "http://10.0.0.1:8265/api/prometheus/sd"
    assert discovery["authorization"] == {"credentials_file": str(token)}
    providers = yaml.safe_load((tmp_path / "here/grafana/provisioning/dashboards/scenerec.yml").read_text())[
        "providers"
    ]
    paths = {each["name"]: Path(each["options"]["path"]) for each in providers}
    assert paths["Ray"] == tmp_path / "ray"
    found = {path.stem: json.loads(path.read_text())["uid"] for path in paths["scenerec"].iterdir()}
    assert found == {each.name: each.name for each in DASHBOARDS}
    assert all(str(tmp_path / "here") in command for command in start_commands(tmp_path / "here"))


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    targets = Targets(dashboard_url="http://10.0.0.1:8265")
    write_files(tmp_path, targets)
    edited = tmp_path / "rules.yml"
    edited.write_text("groups: []")
    with pytest.raises(ClusterError, match=r"prometheus\.yml: is there already: .* --replace"):
        write_files(tmp_path, targets)
    assert edited.read_text() == "groups: []"
    write_files(tmp_path, targets, replace=True)
    assert edited.read_text() == RULES.read_text()


def test_a_cluster_that_is_not_here_is_watched_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-the-cluster")
    command = ["cluster", "monitoring", str(tmp_path / "watch"), "--address", "http://10.0.0.1:8265", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "watch/token").read_text() == "of-the-cluster" and "of-the-cluster" not in done.output
    assert str(tmp_path / "watch/rules.yml") in json.loads(done.stdout)["files"]
    assert "is there already" in CliRunner().invoke(app, command).output
