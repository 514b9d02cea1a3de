"""The Grafana dashboards: a table of panels each, and the JSON that Grafana provisions from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from scenerec.json_object import JsonObject

DATA_SOURCE_UID = "prometheus"
"""Id of the data source in Grafana that the dashboards ask."""

_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 24  # of a panel and of the page, in Grafana's units; a phone shows one beside none


@dataclass(frozen=True)
class Panel:
    """A chart of one quantity over time."""

    title: str
    """What is drawn."""
    unit: str
    """Unit of the values, by Grafana's names of them."""
    expressions: tuple[tuple[str, str], ...]
    """(PromQL, name of its lines by their labels) of each group of lines."""
    empty_without: str = field(default="", kw_only=True)
    """What there must be for the panel to have lines; "" where a running cluster, run or application is enough."""


@dataclass(frozen=True)
class Dashboard:
    """A page of panels."""

    name: str
    """Its id, and the name of its file."""
    title: str
    """Heading of the page."""
    panels: Sequence[Panel]
    """From the top, two in a row."""
    variable: str = ""
    """Label by whose values a reader chooses what is shown; "" for none. The expressions name it as $LABEL."""
    variable_metric: str = ""
    """Metric whose series have the label."""


def _run(metric: str, function: str = "max") -> str:
    """A gauge of trainings. After a restart the old worker's is there for some seconds beside the new one's."""
    return f'{function} by (run, framework) (ray_scenerec_train_{metric}{{run=~"$run"}})'


def _rate(metric: str, by: str, where: str = "") -> str:
    labels = f'application=~"$application"{where}'
    return f"sum by ({by}) (rate(ray_scenerec_{metric}{{{labels}}}[$__rate_interval]))"


def _mean(histogram: str) -> str:
    by = "application, model"
    return f"{_rate(f'{histogram}_sum', by)} / {_rate(f'{histogram}_count', by)}"


def _validation(metrics: str) -> str:
    return f'max by (run, framework, metric) (ray_scenerec_train_validation{{run=~"$run", metric{metrics}}})'


_RUN, _APPLICATION, _MODEL = "{{run}} {{framework}}", "{{application}}", "{{application}} {{model}}"
_CODE = "{{status}} {{code}}"

TRAINING = Dashboard(
    "scenerec-training",
    "scenerec: training",
    (
        Panel("Epochs done", "none", ((_run("epoch"), _RUN),)),
        Panel("Time left", "s", ((_run("remaining_seconds"), _RUN),)),
        Panel("Images per second", "none", ((_run("images_per_second"), _RUN),)),
        Panel("Waiting for data, share of the time", "percentunit", ((_run("data_wait_ratio"), _RUN),)),
        Panel("Training loss", "none", ((_run("loss"), _RUN),)),
        Panel("Validation loss", "none", ((_validation('="val_loss"'), _RUN),)),
        Panel(
            "Validation: top-1 and top-5, mAP and F1",
            "percentunit",
            ((_validation('=~"val_(top[15]|map|f1_.*)"'), "{{run}} {{metric}}"),),
        ),
        Panel("Learning rate", "none", ((_run("learning_rate"), _RUN),)),
        Panel("Fetched from the store", "Bps", ((_run("fetched_bytes_per_second"), _RUN),)),
        Panel("Writing a checkpoint", "s", ((_run("checkpoint_seconds"), _RUN),)),
        Panel(
            "Memory of the workers",
            "bytes",
            ((_run("resident_bytes"), "{{run}} the largest"), (_run("resident_bytes", "sum"), "{{run}} all")),
        ),
        Panel("Workers", "none", ((_run("workers"), _RUN),)),
        Panel("Restarts of the workers", "none", ((f"{_run('restarts')} or {_run('running')} * 0", _RUN),)),
        Panel("Waiting for the store", "bool_yes_no", ((_run("store_away"), _RUN),)),
        Panel(
            "Trials of searches",
            "none",
            (("sum by (search, state) (ray_scenerec_search_trials)", "{{search}} {{state}}"),),
            empty_without="a search",
        ),
    ),
    variable="run",
    variable_metric="ray_scenerec_train_running",
)

SERVING = Dashboard(
    "scenerec-serving",
    "scenerec: serving",
    (
        Panel(
            "Requests per second",
            "reqps",
            ((_rate("requests_total", "application, model, version"), f"{_MODEL} {{{{version}}}}"),),
        ),
        Panel("Images per second", "none", ((_rate("images_total", "application, model"), _MODEL),)),
        Panel(
            "Answered within, 99 of 100 requests",
            "s",
            (('application_model:scenerec_request_seconds:p99{application=~"$application"}', _MODEL),),
        ),
        Panel(
            "Where the time goes, mean of a request",
            "s",
            (
                (_mean("queue_seconds"), f"{_MODEL} waiting for the model"),
                (_mean("prepare_seconds"), f"{_MODEL} decoding"),
                (_mean("infer_seconds"), f"{_MODEL} the network"),
            ),
        ),
        Panel(
            "Server errors, share of the requests",
            "percentunit",
            (('application:scenerec_server_errors:ratio{application=~"$application"}', _APPLICATION),),
        ),
        Panel(
            "Errors per second, by code",
            "reqps",
            ((_rate("requests_total", "application, status, code", ', code!=""'), f"{_APPLICATION} {_CODE}"),),
            empty_without="errors",
        ),
        Panel("Images that the network takes at once", "none", ((_mean("batch_size"), _MODEL),)),
        Panel(
            "Replicas, by version in service",
            "none",
            (
                (
                    'sum by (application, model, version) (ray_scenerec_serving_version{application=~"$application"})',
                    f"{_MODEL} {{{{version}}}}",
                ),
            ),
        ),
    ),
    variable="application",
    variable_metric="ray_scenerec_serving_version",
)

CLUSTER = Dashboard(
    "scenerec-cluster",
    "scenerec: cluster",
    (
        Panel("Nodes", "none", (("count by (RayNodeType) (ray_node_cpu_count)", "{{RayNodeType}}"),)),
        Panel("CPUs, free and taken", "none", (('sum by (State) (ray_resources{Name="CPU"})', "{{State}}"),)),
        Panel("CPU, used", "percent", (("ray_node_cpu_utilization", "{{ip}}"),)),
        Panel("Memory, used", "percentunit", (("ray_node_mem_used / ray_node_mem_total", "{{ip}}"),)),
        Panel("Disk, used", "percent", (("ray_node_disk_utilization_percentage", "{{ip}}"),)),
        Panel(
            "Network",
            "Bps",
            (("ray_node_network_receive_speed", "{{ip}} received"), ("ray_node_network_send_speed", "{{ip}} sent")),
        ),
        Panel(
            "GPUs, free and taken",
            "none",
            (('sum by (State) (ray_resources{Name="GPU"})', "{{State}}"),),
            empty_without="a GPU",
        ),
        Panel(
            "GPUs, used",
            "percent",
            (("ray_node_gpus_utilization", "{{ip}} {{GpuIndex}}"),),
            empty_without="a GPU",
        ),
        Panel(
            "Memory of GPUs, used",
            "mbytes",
            (("ray_node_gram_used", "{{ip}} {{GpuIndex}}"),),
            empty_without="a GPU",
        ),
        Panel(
            "Largest processes",
            "bytes",
            (("topk(8, max by (ip, Component) (ray_component_rss_bytes))", "{{ip}} {{Component}}"),),
        ),
    ),
)

DASHBOARDS = (TRAINING, SERVING, CLUSTER)


def grafana_json(dashboard: Dashboard) -> JsonObject:
    """The dashboard in Grafana's JSON model."""
    return {
        "uid": dashboard.name,
        "title": dashboard.title,
        "tags": ["scenerec"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_variable(dashboard)] if dashboard.variable else []},
        "links": [{"type": "dashboards", "title": "scenerec", "tags": ["scenerec"], "keepTime": True}],
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _panel(number: int, panel: Panel) -> JsonObject:
    row, column = divmod(number * _WIDTH, _COLUMNS)
    source = _source()
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": f"Empty without {panel.empty_without}." if panel.empty_without else "",
        "datasource": source,
        "gridPos": {"x": column, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": {"lineWidth": 2, "showPoints": "never"}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": source, "expr": expression, "legendFormat": lines}
            for index, (expression, lines) in enumerate(panel.expressions)
        ],
    }


def _variable(dashboard: Dashboard) -> JsonObject:
    return {
        "name": dashboard.variable,
        "type": "query",
        "datasource": _source(),
        "query": f"label_values({dashboard.variable_metric}, {dashboard.variable})",
        "refresh": 2,  # whenever the time range changes
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _source() -> JsonObject:
    return {"type": "prometheus", "uid": DATA_SOURCE_UID}
