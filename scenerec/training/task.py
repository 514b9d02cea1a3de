"""What a network learns, as a value: what is counted over batches and ranks, its metrics, and which of them is best.

A further task NAME takes two new files and two edits:

1. `training/torch_NAME.py` and `training/tf_NAME.py`, new: its arithmetic, the functions `training_losses` and `count`
   of `torch_task.TorchTask` and `tf_task.TfTask`; classification's are the pattern.
2. This file: a subclass of Counts, its Metrics, and a Task of them, entered in TASKS.
3. `config/train.py`: its name in the Literal of TrainingConfig.task, and what of a config it cannot use. (Where
   searches shall go by its metrics, `config/tune.py` names them in Objective and TASK_OBJECTIVES.)

The loop, learners, checkpoints, TensorBoard, searches and screens ask the task, and need no edit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from scenerec.config.pretrain import PretrainConfig
from scenerec.config.train import LearningConfig, TrainingConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.training.counts import Counts
from scenerec.training.metric import VAL_LOSS, Metric
from scenerec.training.multilabel_counts import F1_MACRO, F1_MICRO, MAP, MultilabelCounts


@dataclass(frozen=True)
class Task:
    """What a network learns. `task.py` says how one is added."""

    name: str
    """Name of the task in a config."""
    counts: type[Counts]
    """The class of what validation counts; `counts()` is a count of nothing."""
    metrics: tuple[Metric, ...]
    """What `Counts.metrics` gives, in that order: the validation columns of the history. The first is val_loss, the
    mean loss over the validation set, by which the plateau schedule goes."""
    best: Metric
    """The one of them by which the best epoch, and so the best checkpoint, is chosen."""
    torch_module: str = ""
    """Module of its arithmetic in torch, a `torch_task.TorchTask`; pretraining has a learner of its own instead."""
    tf_module: str = ""
    """Module of its arithmetic in TensorFlow, a `tf_task.TfTask`; as above."""
    weighs_labels: bool = False
    """Whether class weights say how much each label counts that is there; else how much the loss of an image does."""

    def best_epoch(self, history: Sequence[EpochMetrics]) -> EpochMetrics | None:
        """The epoch with the best value of `best`, the first of equals; None where no epoch is finished.

        An epoch without that value is worse than any with one.
        """

        def rank(epoch: EpochMetrics) -> tuple[float, int]:
            value = epoch.validation.get(self.best.key)
            return -inf if value is None else self.best.towards_better(value), -epoch.epoch

        return max(history, key=rank, default=None)


@dataclass(frozen=True)
class ClassificationCounts(Counts):
    """Sums over the samples of a classification."""

    loss_sum: float = 0.0
    """Sum of the cross-entropies, without smoothing."""
    top1: float = 0.0
    """Samples whose class ranked first."""
    top5: float = 0.0
    """Samples whose class was among the first five."""

    def metrics(self) -> dict[str, float]:
        """Means over the samples: the loss, and the shares from 0 to 1."""
        return {
            VAL_LOSS.key: self.loss_sum / self.samples,
            TOP1.key: self.top1 / self.samples,
            TOP5.key: self.top5 / self.samples,
        }


@dataclass(frozen=True)
class PretrainingCounts(Counts):
    """Sums over pairs of views of training images, and over a labelled set where there is one."""

    loss_sum: float = 0.0
    """Sum of the contrastive losses."""
    embedding_std: float = 0.0
    """Deviation of all embeddings; of one rank alone, as is the next."""
    effective_rank: float = 0.0
    """How many directions they use."""
    asked: float = 0.0
    """Labelled images that were classified by their neighbours."""
    knn_top1: float = 0.0
    """Those that were classified rightly."""
    probed: float = 0.0
    """Labelled images that a linear classifier has judged."""
    linear_top1: float = 0.0
    """Those that it classified rightly."""

    def metrics(self) -> dict[str, float]:
        """Means over the pairs, and shares of the labelled images where there were any."""
        return {
            VAL_LOSS.key: self.loss_sum / self.samples,
            **({KNN.key: self.knn_top1 / self.asked} if self.asked else {}),
            **({LINEAR.key: self.linear_top1 / self.probed} if self.probed else {}),
            EMBEDDING_STD.key: self.embedding_std,
            EFFECTIVE_RANK.key: self.effective_rank,
        }


TOP1 = Metric("val_top1", "top-1", "share", is_maximised=True)
TOP5 = Metric("val_top5", "top-5", "share", is_maximised=True)
KNN = Metric("val_knn_top1", "k-NN top-1", "share", is_maximised=True)
LINEAR = Metric("val_linear_top1", "linear top-1", "share", is_maximised=True)
EMBEDDING_STD = Metric("val_embedding_std", "std", is_maximised=True)
EFFECTIVE_RANK = Metric("val_effective_rank", "rank", is_maximised=True)

CLASSIFICATION = Task(
    name="classification",
    counts=ClassificationCounts,
    metrics=(VAL_LOSS, TOP1, TOP5),
    best=TOP1,
    torch_module="scenerec.training.torch_classification",
    tf_module="scenerec.training.tf_classification",
)

MULTILABEL = Task(
    name="multilabel",
    counts=MultilabelCounts,
    metrics=(VAL_LOSS, MAP, F1_MICRO, F1_MACRO),
    best=MAP,
    torch_module="scenerec.training.torch_multilabel",
    tf_module="scenerec.training.tf_multilabel",
    weighs_labels=True,
)

PRETRAINING = Task(
    name="pretraining", counts=PretrainingCounts, metrics=(VAL_LOSS, EMBEDDING_STD, EFFECTIVE_RANK), best=VAL_LOSS
)
PROBED_PRETRAINING = Task(
    name="pretraining",
    counts=PretrainingCounts,
    metrics=(VAL_LOSS, KNN, LINEAR, EMBEDDING_STD, EFFECTIVE_RANK),
    best=KNN,
)
"""With a labelled set, by which the best epoch is chosen. Same run: a probe may come and go."""

TASKS = {task.name: task for task in (CLASSIFICATION, MULTILABEL)}
"""Every task that learns from labels, by its name."""

METRICS = {metric.key: metric for task in (*TASKS.values(), PROBED_PRETRAINING, PRETRAINING) for metric in task.metrics}
"""Every validation metric of any task, by its key."""


def task_of(config: LearningConfig) -> Task:
    """The task of a run: that which its config names, or pretraining."""
    if isinstance(config, PretrainConfig):
        return PROBED_PRETRAINING if config.probe else PRETRAINING
    return TASKS[config.task] if isinstance(config, TrainingConfig) else CLASSIFICATION


def scores(values: Mapping[str, Any]) -> list[tuple[Metric, float]]:
    """The metrics that the summary of an epoch shows, with their values: all of validation but the loss.

    `values` are those of the epoch by key, as in metrics.jsonl.
    """
    return [(METRICS[key], value) for key, value in values.items() if key in METRICS and key != VAL_LOSS.key]
