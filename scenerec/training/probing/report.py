"""The report of a probe: one HTML file that loads nothing else."""

from collections.abc import Mapping
from datetime import UTC, datetime

from scenerec import __version__
from scenerec.config.file import dump_config
from scenerec.config.probe import ProbeConfig
from scenerec.data.packed_set import PackedSet
from scenerec.html import html_environment
from scenerec.json_object import JsonObject
from scenerec.training.probing.features import Split

_TEMPLATE = "probe_report.html.j2"


def render(config: ProbeConfig, result: JsonObject, sets: Mapping[Split, PackedSet]) -> str:
    """The report as HTML, of the content of result.json."""
    environment = html_environment("training/probing")
    environment.filters |= {"percent": lambda share: f"{share:.2%}", "count": lambda number: f"{number:,}"}
    return environment.get_template(_TEMPLATE).render(
        config=config,
        result=result,
        rows=result["backbones"],
        sets=sets,
        settings=dump_config(config),
        written_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
    )
