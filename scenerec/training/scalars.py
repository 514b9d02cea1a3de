"""The quantities of a run by the names under which TensorBoard and MLflow group them: `train/loss`, `val/top1`."""

from scenerec.epoch_metrics import VALIDATION_PREFIX, EpochMetrics
from scenerec.step_metrics import StepMetrics


def step_scalars(point: StepMetrics) -> dict[str, float]:
    """What a line of steps.jsonl came to."""
    return {
        "train/loss": point.loss,
        "optim/lr": point.lr,
        "perf/images_per_s": point.images_per_s,
        "perf/data_wait": point.data_wait,
    }


def epoch_scalars(epoch: EpochMetrics) -> dict[str, float]:
    """What an epoch came to; the means over it have names of their own beside those by step."""
    of_input = {
        "perf/epoch_data_wait": epoch.data_wait,
        "perf/fetched_bytes_per_s": epoch.fetched_bytes_per_s,
    }
    return {
        "train/epoch_loss": epoch.train_loss,
        **{f"val/{key.removeprefix(VALIDATION_PREFIX)}": value for key, value in epoch.validation.items()},
        "perf/epoch_images_per_s": epoch.images_per_s,
        **{name: value for name, value in of_input.items() if value is not None},
    }
