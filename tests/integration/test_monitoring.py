"""A real Prometheus on a real cluster: what runs, applications and searches export, and what is asked about it."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml

from cluster import loopback
from cluster.local import LocalCluster
from cluster.monitoring.dashboards import DASHBOARDS
from scenerec.inference.bundles.registry import Registry
from tests.monitoring import documented, metrics_in
from tests.patience import PATIENCE_S, wait_until
from tests.programs import installed
from tests.served import PICTURES, command, scenerec
from tests.tiny_bundle import make_tiny_bundle

PORTS = loopback.free_ports(("prometheus", "http"))
PROMETHEUS = f"http://127.0.0.1:{PORTS['prometheus']}"
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
            # It listens before it has opened its storage, and answers 503 until then.
            wait_until(lambda: loopback.get(f"{PROMETHEUS}/-/ready") is not None, "a Prometheus that is ready")
            wait_until(lambda: bool(query("up == 1")), "a target that Prometheus reaches")
            yield
        finally:
            process.terminate()


def query(expression: str) -> list[dict[str, Any]]:
    """What Prometheus, which is ready, answers now."""
    answer = requests.get(f"{PROMETHEUS}/api/v1/query", params={"query": expression}, timeout=PATIENCE_S).json()
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


def seen(expression: str) -> list[dict[str, Any]]:
    """What Prometheus would have answered at some time since it began."""
    for variable, value in {"$run": ".*", "$application": ".*", "$__rate_interval": "30s"}.items():
        expression = expression.replace(variable, value)
    return query(f"max_over_time(({expression})[15m:2s])")


def states_seen() -> set[str]:
    """The states of the search's trials of which one was counted."""
    return {each["metric"]["state"] for each in seen(TRIALS) if each["value"][1] == "1"}


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
        wait_until(lambda: predict() and bool(seen(OF_AN_EPOCH)), "an epoch of the run")
        wait_until(lambda: states_seen() == {"finished", "running"}, "the search's trials")
        wait_until(lambda: predict() and not empty_charts(), "lines in all charts")
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


def empty_charts() -> list[str]:
    """The titles of the charts, but for those of GPUs, that lack lines."""
    panels = (panel for dashboard in DASHBOARDS for panel in dashboard.panels if panel.empty_without != "a GPU")
    return [panel.title for panel in panels if not all(seen(expression) for expression, _ in panel.expressions)]


def test_every_chart_has_lines(watched: None) -> None:
    assert empty_charts() == []
    (steps,) = seen("ray_scenerec_train_step")
    assert (steps["metric"]["run"], steps["metric"]["framework"]) == ("watched", "torch")
    assert float(steps["value"][1]) >= 10  # an epoch
    assert float(seen("ray_scenerec_train_resident_bytes")[0]["value"][1]) > 1e8


def test_what_is_exported_is_what_the_docs_name(watched: None) -> None:
    series = query('count by (__name__) (last_over_time({__name__=~"ray_scenerec_.*"}[15m]))')
    names = metrics_in(" ".join(each["metric"]["__name__"] for each in series))
    assert names == documented() - {"scenerec_train_restarts"}  # there were none


def test_a_run_that_has_ended_leaves_no_gauges(watched: None) -> None:
    wait_until(lambda: not query('{__name__=~"ray_scenerec_(train|search)_.*"}'), "the end of a run's gauges")
    # It was told once, when the version came into service. A look that took too long leaves a gap behind.
    wait_until(lambda: bool(query("ray_scenerec_serving_version")), "the version that serves")


def rule_health() -> dict[str, str]:
    """How the last evaluation of each rule went; `unknown` where there was none yet."""
    groups = requests.get(f"{PROMETHEUS}/api/v1/rules", timeout=PATIENCE_S).json()["data"]["groups"]
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


def test_every_alert_can_be_evaluated(watched: None) -> None:
    wait_until(lambda: "unknown" not in rule_health().values(), "an evaluation of each rule")
    health = rule_health()
    assert health == dict.fromkeys(health, "ok")
