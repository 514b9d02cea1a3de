"""A real store that goes away and misbehaves, behind a proxy, while it is read and trained from."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from cluster.run_record import run_environment
from cluster.working_dir import copy_packages
from scenerec.checkpoint import checkpoint_name
from scenerec.config.train import TrainConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.job_log import Event, Note, Restart, parse_line
from scenerec.storage import IMPATIENT, Patience, S3Storage, s3_download
from scenerec.training.run_folder import RunFolder
from tests.faulty_proxy import Fault, FaultyProxy
from tests.local_run import train_here


@pytest.fixture
def proxy(cluster: local.LocalCluster) -> Iterator[FaultyProxy]:
    with FaultyProxy(str(cluster.store_url)) as proxy:
        yield proxy


@pytest.fixture
def storage(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Storage]:
    """A folder of the bucket `scenes`, by way of the proxy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setattr(s3_download, "_CHUNK_BYTES", 1 << 16)
    storage = S3Storage("scenes", "outages")
    yield storage
    storage.delete("object")


def test_a_body_goes_on_where_it_broke(storage: S3Storage, proxy: FaultyProxy) -> None:
    content = random.Random(0).randbytes(3_000_000)
    storage.put("object", content)
    proxy.requests.clear()
    proxy.fault = Fault(cut_after_bytes=1_600_000)
    assert storage.get("object") == content
    (first, second) = (wanted for method, _, wanted in proxy.requests if method == "GET")
    assert first == ""
    assert 1_500_000 < int(second.removeprefix("bytes=").removesuffix("-")) <= 1_600_000


def test_a_body_of_another_version_begins_anew(storage: S3Storage, proxy: FaultyProxy) -> None:
    versions = [random.Random(seed).randbytes(1_000_000) for seed in range(2)]
    storage.put("object", versions[0])
    proxy.fault = Fault(cut_after_bytes=500_000, times=1, methods=("GET",))
    direct = S3Storage("scenes", "outages")
    # It is said when the first try has broken off.
    storage.patience = Patience(budget_s=3, quiet_s=0, say=lambda text: direct.put("object", versions[1]))
    assert storage.get("object") == versions[1]


@pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=pytest.mark.matrix)])
def test_a_run_outlives_a_store_that_goes_in_the_middle_of_an_epoch(
    framework: str, cluster: local.LocalCluster, proxy: FaultyProxy, stored_scenes: str, tmp_path: Path
) -> None:
    """Without a restart, which would fail it, and to the same history as without a cluster and an outage."""
    document: dict[str, Any] = {
        "kind": "train",
        "name": f"outage-{framework}",
        "framework": framework,
        "data": {"train": f"{stored_scenes}/train", "val": f"{stored_scenes}/val", "image_size": 32},
        "model": {"arch": "squeezenet1_1"},
        "optimize": {"epochs": 4, "global_batch_size": 10, "lr": 0.01},
        "scale": {"workers": 1, "max_restarts": 0},
        "checkpoint": {"every_steps": 3},
        "output": "s3://scenes/runs",
    }
    config = TrainConfig.model_validate(document)
    whole = TrainConfig.model_validate({**document, "name": f"whole-{framework}", "output": str(tmp_path)})
    train_here(whole)

    proxy.leaves_at = f"{config.name}/checkpoints/{checkpoint_name(15)}"  # of ten steps an epoch
    client = ClusterClient(find_address())
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "config.yaml").write_text(yaml.safe_dump(document))
    environment = run_environment(config.name, config.run_url, "train", framework)
    job = client.submit(
        config.name,
        config.run_url,
        "python -m jobs.train config.yaml",
        tmp_path / "sent",
        {"scenerec": "test", "kind": "train", "framework": framework},
        {**environment, "AWS_ENDPOINT_URL": proxy.url},
        copy_packages(tmp_path / "code"),
    )
    events = (event for line in client.follow(job) if (event := parse_line(line)))
    away = _until(events, lambda event: isinstance(event, Note) and "cannot reach" in event.text)
    time.sleep(2 * IMPATIENT.budget_s)
    proxy.come_back()
    rest = list(events)
    assert client.job(job).exit_code == 0, rest
    assert any(isinstance(event, Note) and "answers again" in event.text for event in rest)
    assert not [event for event in away + rest if isinstance(event, Restart)]
    histories = [RunFolder(each.run_url).read_history() for each in (whole, config)]
    assert [_learned(epoch) for epoch in histories[0]] == [_learned(epoch) for epoch in histories[1]]


def _until(events: Iterator[Event], wanted: Callable[[Event], bool]) -> list[Event]:
    """Reads up to the first event that is wanted."""
    seen = []
    for event in events:
        seen.append(event)
        if wanted(event):
            return seen
    raise AssertionError(f"the job ended before that: {seen[-10:]}")


def _learned(epoch: EpochMetrics) -> tuple[object, ...]:
    return epoch.epoch, epoch.global_step, epoch.train_loss, epoch.validation, epoch.lr
