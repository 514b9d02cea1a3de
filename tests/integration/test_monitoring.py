"""A real Prometheus on a real cluster: what runs, applications and searches export, and what is asked about it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
import yaml

from cluster import loopback
from cluster.local import LocalCluster
from cluster.monitoring.dashboards import DASHBOARDS, Panel
from scenerec.inference.bundles.registry import Registry
from tests.monitoring import documented, metrics_in
from tests.patience import PATIENCE_S, wait_until
from tests.programs import installed
from tests.served import PICTURES, command, scenerec
from tests.tiny_bundle import make_tiny_bundle

PORTS = loopback.free_ports(("prometheus", "http"))
PROMETHEUS = f"http://127.0.0.1:{PORTS['prometheus']}/api/v1"
RUN = {
    "kind": "train",
    "name": "watched",
    "framework": "torch",
    "model": {"arch": "squeezenet1_1"},
    "optimize": {"epochs": 1000, "global_batch_size": 10, "lr": 0.001},
    "scale": {"workers": 1},
    "output": "s3://scenes/runs",
}
SERVE = {
    "kind": "serve",
    "name": "watched",
    "registry": "s3://scenes/watched-models",
    "models": [{"name": "tiny", "version": "tiny@production"}],
    "http": {"port": PORTS["http"], "grpc_port": None},
    "scale": {"min_replicas": 1, "max_replicas": 1},
}
TRIALS = "ray_scenerec_search_trials"
OF_AN_EPOCH = "ray_scenerec_train_validation"
SEARCH = """\
import sys
import ray
from jobs.search_gauges import SearchGauges
from scenerec.search.trial import Trial
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
with SearchGauges("watched") as gauges:
    gauges.observe([Trial(number=0, point={}, state="finished"), Trial(number=1, point={}, state="running")])
    input()
"""


@pytest.fixture(scope="module")
def prometheus(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prometheus, started with the files of `scenerec cluster monitoring`, but looking more often."""
    program = installed("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("monitoring")
    command("cluster", "monitoring", str(folder))
    config = folder / "prometheus.yml"
    often = {"scrape_interval": "2s", "evaluation_interval": "2s"}
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"global": often}))
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    options.append(f"--web.listen-address=127.0.0.1:{PORTS['prometheus']}")
    with subprocess.Popen([program, *options], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: bool(query("up == 1")), "a target that Prometheus reaches")
            yield
        finally:
            process.terminate()


def query(expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers now."""
    with suppress(requests.ConnectionError):
        answer = requests.get(f"{PROMETHEUS}/query", params={"query": expression}, timeout=PATIENCE_S).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]
    return []


def seen(expression: str) -> list[dict[str, Any]]:
    """What Prometheus would have answered at some time since it began."""
    for variable, value in {"$run": ".*", "$application": ".*", "$__rate_interval": "30s"}.items():
        expression = expression.replace(variable, value)
    return query(f"max_over_time(({expression})[15m:2s])")


@pytest.fixture(scope="module")
def watched(
    prometheus: None, cluster: LocalCluster, stored_scenes: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A run, an application and the gauges of a search, side by side until all of them were seen, and then ended."""
    folder = tmp_path_factory.mktemp("watched")
    registry = Registry(SERVE["registry"])
    registry.push(make_tiny_bundle(folder / "bundle"), "tiny")
    registry.move("tiny", "production", 1, "test", None)
    data = {"train": f"{stored_scenes}/train", "val": f"{stored_scenes}/val", "image_size": 32}
    for name, document in (("run", {**RUN, "data": data}), ("serve", SERVE)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    scenerec("serve", "deploy", str(folder / "serve.yaml"))
    searching = [sys.executable, "-c", SEARCH, cluster.ray_address]
    with subprocess.Popen(searching, stdin=subprocess.PIPE, text=True) as search:
        command("submit", str(folder / "run.yaml"), "--detach")
        wait_until(lambda: predict() and all(map(seen, (OF_AN_EPOCH, TRIALS))), "an epoch of the run")
        command("stop", "watched")
        search.communicate("\n", timeout=PATIENCE_S)
    assert search.returncode == 0
    yield
    command("serve", "stop", "watched")


def predict() -> bool:
    """Asks the application for an answer and for a refusal."""
    for body in (PICTURES["red"], b"no picture"):
        requests.post(f"http://127.0.0.1:{PORTS['http']}/v1/models/tiny:predict", data=body, timeout=PATIENCE_S)
    return True


def panels() -> list[Panel]:
    return [panel for dashboard in DASHBOARDS for panel in dashboard.panels if panel.empty_without != "a GPU"]


def test_every_chart_has_lines(watched: None) -> None:
    charts = [(panel.title, expression) for panel in panels() for expression, _ in panel.expressions]
    for title, expression in charts:
        wait_until(lambda: bool(seen(expression)), title)  # noqa: B023 (it is called at once)
    (steps,) = seen("ray_scenerec_train_step")
    assert (steps["metric"]["run"], steps["metric"]["framework"]) == ("watched", "torch")
    assert float(steps["value"][1]) >= 10  # an epoch
    assert float(seen("ray_scenerec_train_resident_bytes")[0]["value"][1]) > 1e8
    states = {each["metric"]["state"]: each["value"][1] for each in seen(TRIALS)}
    assert {state for state, count in states.items() if count == "1"} == {"finished", "running"}


def test_what_is_exported_is_what_the_docs_name(watched: None) -> None:
    series = query('count by (__name__) (last_over_time({__name__=~"ray_scenerec_.*"}[15m]))')
    names = metrics_in(" ".join(each["metric"]["__name__"] for each in series))
    assert names == documented() - {"scenerec_train_restarts"}  # there were none


def test_a_run_that_has_ended_leaves_no_gauges(watched: None) -> None:
    wait_until(lambda: not query('{__name__=~"ray_scenerec_(train|search)_.*"}'), "the end of a run's gauges")
    assert query("ray_scenerec_serving_version")  # which was told once, when the version came into service


def test_every_alert_can_be_evaluated(watched: None) -> None:
    groups = requests.get(f"{PROMETHEUS}/rules", timeout=PATIENCE_S).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in rules} == {rule["name"]: "ok" for rule in rules}
