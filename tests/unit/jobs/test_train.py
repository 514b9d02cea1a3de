"""What a training job ends with."""

from jobs.train import failure_of_workers
from scenerec.errors import ScenerecError, StorageError


def test_a_store_that_stays_away_is_named_with_the_time_that_was_waited() -> None:
    reason = "scenerec.errors.StorageError: s3://scenes/a.tar: cannot reach http://10.0.0.5:8333: is the store up?"
    error = failure_of_workers(reason, 300)
    assert isinstance(error, StorageError)
    assert str(error) == (
        "s3://scenes/a.tar: cannot reach http://10.0.0.5:8333: is the store up?; "
        "the workers have waited 300 s for it (data.store_patience_s)"
    )


def test_other_failures_are_told_as_they_are() -> None:
    error = failure_of_workers("ValueError: odd", 300)
    assert (type(error), str(error)) == (ScenerecError, "the workers failed: ValueError: odd")
