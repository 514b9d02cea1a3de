"""One data centre for all tests on several nodes, put right again before each."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.datacenter import Datacenter
from tests.nodes.machines import why_not
from tests.nodes.runs import document, learned


@pytest.fixture(scope="session")
def _datacenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Datacenter]:
    if reason := why_not():
        pytest.skip(reason)
    with Datacenter.up(tmp_path_factory.mktemp("nodes"), nodes=3) as datacenter:
        datacenter.client.run(
            "scenerec() { python -m scenerec $@; }; "
            "scenerec data synthetic drawn --classes 4 --train-per-class 25 --val-per-class 9 --size 64 --seed 1 && "
            "scenerec data pack drawn s3://scenes/drawn --shard-mb 0.03",
            datacenter.client_environment,
        )
        yield datacenter


@pytest.fixture
def dc(_datacenter: Datacenter) -> Datacenter:
    """Head, store, client and three nodes of one CPU, all of them well and idle, whatever the test before has done."""
    _datacenter.restore(nodes=3)
    _datacenter.stop_jobs()
    return _datacenter


@pytest.fixture(scope="session")
def undisturbed(_datacenter: Datacenter) -> Callable[[str, int], list[Any]]:
    """What a run in a framework, of so many epochs, learns to which nothing happens."""

    @cache
    def trained(framework: str, epochs: int) -> list[Any]:
        _datacenter.restore(nodes=3)
        job = _datacenter.submit(document(f"whole-{framework}-{epochs}", framework, epochs))
        assert job.wait() == 0, job.tail()
        return learned(_datacenter, job.name)

    return trained


@pytest.fixture(scope="session")
def table_file() -> Path:
    return Path(__file__).parents[2] / "docs" / "faults.md"
