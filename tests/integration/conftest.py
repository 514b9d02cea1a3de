"""One embedded cluster or one store for all integration tests: real Ray, real S3."""

import os
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect, sync_playwright

from cluster import local
from scenerec.config.train import TrainConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.job_log import Event
from scenerec.training import tf_learner, torch_learner
from tests.local_run import FINISHED_RUN, FinishedRun, train_here
from tests.logs import explained_by_logs, logs_since
from tests.patience import PATIENCE_S
from tests.programs import installed
from tests.running_store import running_store
from tests.variables import lead_to

BROWSER_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a camera that shows a test card
)
BROWSER_PATIENCE_MS = 1000 * PATIENCE_S


def pytest_configure() -> None:
    """SIGTERM is as Ctrl-C: pytest then ends what the fixtures have started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks all tests of a file that uses the cluster."""
    ours = [item for item in items if isinstance(item, pytest.Function) and Path(__file__).parent in item.path.parents]
    on_cluster = {item.path for item in ours if "cluster" in item.fixturenames}
    for item in ours:
        if item.path in on_cluster:
            item.add_marker(pytest.mark.cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What fails, brings what the cluster that it has used wrote meanwhile: its jobs, workers, replicas and servers."""
    report = yield
    home = os.environ.get("SCENEREC_HOME")
    if report.failed and home:
        report.sections.append(("Logs of the cluster", logs_since(Path(home), call.start)))
    return report


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Before anything computes: TensorFlow takes the number once."""
    torch_learner.use_threads(1)
    tf_learner.use_threads(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[local.LocalCluster]:
    """A cluster of two CPUs with the bucket `scenes`; the environment of this process leads to it."""
    with (
        tempfile.TemporaryDirectory(prefix="scenerec-test-", ignore_cleanup_errors=True) as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        lead_to({"SCENEREC_HOME": home}, patch)
        try:
            with explained_by_logs(Path(home)):
                started = local.start(Path(home), cpus=2, gpus=0)
            lead_to(started.environment, patch)
            yield started
        finally:
            local.stop(Path(home), purge=True)


@pytest.fixture(scope="session")
def store_environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The variables that lead to a store: the cluster's where the session has one, else one that is started alone."""
    if any("cluster" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield request.getfixturevalue("cluster").environment
        return
    with running_store("scenes") as environment:
        yield environment


@pytest.fixture
def store(store_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A real S3 store with the bucket `scenes`, to which the environment leads while the test runs."""
    lead_to(store_environment, monkeypatch)


@pytest.fixture(scope="session")
def stored_scenes(cluster: local.LocalCluster, scenes_folder: Path) -> str:
    """The drawn scenes in the store: `train` of 100 and `val` of 36 images, each in several shards."""
    url = "s3://scenes/drawn"
    pack(PackRequest(source=scenes_folder, destination=url, options=PackOptions(shard_mb=0.03)))
    return url


@pytest.fixture(scope="session")
def finished_run(make_shared_config: Callable[..., TrainConfig]) -> Callable[[str], FinishedRun]:
    """The run in a framework that tests only read; trained when first asked for, without a cluster."""

    @cache
    def trained(framework: str) -> FinishedRun:
        config = make_shared_config(name=framework, framework=framework, **FINISHED_RUN)
        events: list[Event] = []
        return FinishedRun(config, train_here(config, events.append), events)

    return trained


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Chromium, with a profile of its own. While it is there an event loop runs, so that tests have none of theirs."""
    chromium = installed("chromium", "chromium")
    expect.set_options(timeout=BROWSER_PATIENCE_MS)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            args=list(BROWSER_FLAGS),
            headless=True,
            timeout=BROWSER_PATIENCE_MS,
            viewport={"width": 1280, "height": 860},
        )
        context.set_default_timeout(BROWSER_PATIENCE_MS)
        yield context
        context.close()
