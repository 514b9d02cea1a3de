"""The arithmetic of a task in TensorFlow. Mirrors torch_task."""

from importlib import import_module
from typing import Protocol, cast

import tensorflow as tf

from scenerec.config.optimize import OptimizeConfig
from scenerec.training.task import Task


class TfTask(Protocol):
    """The arithmetic of a task in TensorFlow: a module with these two functions, which are traced."""

    def training_losses(
        self, outputs: tf.Tensor, targets: tf.Tensor, config: OptimizeConfig, label_weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Losses of the samples [n], from the network's outputs [n, classes] and what these should say.

        `targets` are the batch's labels; where images are mixed, shares of the classes [n, classes]. `label_weights`,
        [classes], are those of a task that `weighs_labels`, where a run has some; None elsewhere.
        """

    def count(self, outputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What the task's `Counts.of_batch` takes, from the outputs and labels at validation: by default scalars in the
        order of its fields, without `samples`.
        """


def tf_task(task: Task) -> TfTask:
    """Imports the arithmetic of a task."""
    return cast(TfTask, import_module(task.tf_module))
