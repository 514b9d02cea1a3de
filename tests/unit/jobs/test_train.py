"""What a training job ends with."""

import pytest

from jobs.train import failure_of_workers
from scenerec.errors import NotFoundError, ScenerecError, StorageError


@pytest.mark.parametrize("kind", [StorageError, NotFoundError])
def test_what_a_store_did_is_told_without_rays_words(kind: type[ScenerecError]) -> None:
    error = failure_of_workers(f"scenerec.errors.{kind.__name__}: s3://scenes/a.tar: cannot reach http://10.0.0.5:8333")
    assert (type(error), str(error)) == (kind, "s3://scenes/a.tar: cannot reach http://10.0.0.5:8333")


def test_other_failures_are_told_as_they_are() -> None:
    error = failure_of_workers("ValueError: odd")
    assert (type(error), str(error)) == (ScenerecError, "the workers failed: ValueError: odd")
