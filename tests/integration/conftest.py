"""One embedded cluster for all integration tests: real Ray, real S3."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import local
from scenerec.training import tf_learner, torch_learner


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Before anything computes: TensorFlow takes the number once."""
    torch_learner.use_threads(1)
    tf_learner.use_threads(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[local.LocalCluster]:
    """A cluster of two CPUs with the bucket `scenes`; the environment of this process leads to it."""
    with tempfile.TemporaryDirectory(prefix="scenerec-test-") as home, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        patch.setenv("SCENEREC_HOME", home)
        try:
            started = local.start(Path(home), cpus=2, gpus=0)
            for name, value in started.environment.items():
                patch.setenv(name, value)
            yield started
        finally:
            local.stop(Path(home), purge=True)
