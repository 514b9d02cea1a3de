"""A run's folder, written as training writes it, and what MLflow has of it."""

from pathlib import Path
from typing import Any

from scenerec.config.train import TrainConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.job_log import Event, Note
from scenerec.step_metrics import StepMetrics
from scenerec.training.mlflow_mirror import MlflowMirror
from scenerec.training.node_time import Start
from scenerec.training.run_folder import RunFolder

STEPS = 4


class MirroredRun:
    """A run below `output` that MLflow at `uri` shall show, in the experiment `scenes`."""

    def __init__(self, output: Path, uri: str) -> None:
        from mlflow import MlflowClient

        self.config = TrainConfig.model_validate(
            {
                "kind": "train",
                "name": "photos",
                "framework": "torch",
                "data": {"train": "/data/train", "val": "/data/val"},
                "model": {"arch": "resnet18"},
                "optimize": {"epochs": 3, "global_batch_size": 8, "lr": 0.1, "class_weights": {'dog\'s "hut"': 2}},
                "track": {"mlflow": uri, "experiment": "scenes"},
                "output": str(output),
            }
        )
        self.folder = RunFolder(self.config.run_url)
        self.folder.write_config(self.config)
        self.events: list[Event] = []
        self.client = MlflowClient(uri)

    @property
    def notes(self) -> list[str]:
        """What the job's log was told."""
        return [event.text for event in self.events if isinstance(event, Note)]

    def begin(self, time_s: float = 1e9) -> None:
        """The workers begin, or begin again."""
        self.folder.add_start(Start(time_s=time_s, workers=1))

    def reach(self, global_step: int, checkpoint: int | None = None) -> None:
        """Writes what a run has of so many steps; its newest checkpoint is that of the last, or of `checkpoint`."""
        lines = [line(step) for step in range(1, global_step + 1)]
        self.folder.write_steps("".join(f"{each.model_dump_json()}\n" for each in lines).encode(), b"")
        saved = global_step if checkpoint is None else checkpoint
        self.folder.checkpoints.put(f"step-{saved:09d}/state.json", b"{}")
        self.folder.write_metrics([epoch(number) for number in range(1, saved // STEPS + 1)])

    def mirror(self, **changes: Any) -> MlflowMirror:
        """Of the run's config with some changes."""
        config = TrainConfig.model_validate({**self.config.model_dump(), **changes})
        return MlflowMirror(config, self.events.append, {"mlflow.source.git.commit": "abc"}, every_s=0.02)

    def found(self) -> list[Any]:
        """The runs in MLflow's experiment."""
        experiment = self.client.get_experiment_by_name("scenes")
        return list(self.client.search_runs([experiment.experiment_id])) if experiment else []

    def steps(self) -> list[int]:
        """The steps of which MLflow has the training loss."""
        (run,) = self.found()
        return [metric.step for metric in self.client.get_metric_history(run.info.run_id, "train/loss")]


def line(global_step: int) -> StepMetrics:
    epoch, step = divmod(global_step - 1, STEPS)
    return StepMetrics(
        epoch=epoch + 1,
        step=step + 1,
        steps=STEPS,
        global_step=global_step,
        loss=1 / global_step,
        lr=0.1,
        images_per_s=9.0,
        data_wait=0.5,
        time_s=1e9 + global_step,
    )


def epoch(number: int) -> EpochMetrics:
    values = {"val_loss": 1 / number, "val_top1": 0.5}
    return EpochMetrics(epoch=number, global_step=number * STEPS, train_loss=1.0, validation=values, time_s=1e9)
