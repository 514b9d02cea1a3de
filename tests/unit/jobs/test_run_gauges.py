"""What a run's gauges say, by what rank 0 tells the job's log."""

from jobs.run_gauges import RUN_GAUGES, of_progress
from scenerec.job_log import Progress


def test_a_line_of_progress_is_told_in_numbers() -> None:
    values = of_progress(Progress(3, 6, 5, 10, 231.4, 1.25, 0.1, 72.0, data_wait=0.25, checkpoint_s=1.5))
    assert values == {
        "scenerec_train_epoch": 2.5,
        "scenerec_train_step": 25,
        "scenerec_train_images_per_second": 231.4,
        "scenerec_train_loss": 1.25,
        "scenerec_train_learning_rate": 0.1,
        "scenerec_train_data_wait_ratio": 0.25,
        "scenerec_train_remaining_seconds": 72.0,
        "scenerec_train_checkpoint_seconds": 1.5,
    }
    assert values.keys() <= RUN_GAUGES.keys()


def test_what_is_not_known_yet_is_not_told() -> None:
    values = of_progress(Progress(1, 6, 5, 10, 231.4, 1.25, 0.1, 72.0))
    assert not {"scenerec_train_data_wait_ratio", "scenerec_train_checkpoint_seconds"} & values.keys()
