"""The YAML of a training: what a user writes, checked before anything expensive starts.

The docstring under each field is the reference documentation; `scenerec schema` prints it as JSON Schema.
"""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import model_validator

from scenerec.config.block import Block
from scenerec.config.checkpoint import CheckpointConfig
from scenerec.config.compute import ComputeConfig
from scenerec.config.data import DataConfig, InputConfig
from scenerec.config.job import JobConfig
from scenerec.config.model import ModelConfig
from scenerec.config.optimize import OptimizeConfig
from scenerec.config.recipe import with_recipe
from scenerec.config.scale import ScaleConfig
from scenerec.config.task import TaskName
from scenerec.config.track import TrackConfig
from scenerec.errors import ModelError
from scenerec.models.blocks import check_blocks, check_recomputable
from scenerec.models.zoo import architecture, check_image_size

_LEAST_IMAGES = 2

FUSED = ("sgd", "adamw")
"""Optimizers of which torch has a fused form."""


class LearningConfig(Block):
    """How a network learns, with labels or without."""

    framework: Literal["torch", "tensorflow"]
    """The framework that trains; network, first weights and batches are the same in both."""
    data: InputConfig
    """What to learn from."""
    model: ModelConfig
    """What learns."""
    optimize: OptimizeConfig
    """How it learns."""
    scale: ScaleConfig = ScaleConfig()
    """On how many machines."""
    compute: ComputeConfig = ComputeConfig()
    """How they compute."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """How often it is saved."""
    track: TrackConfig = TrackConfig()
    """How it is followed."""

    @model_validator(mode="after")
    def _image_size_suits_the_architecture(self) -> "LearningConfig":
        for field, size in (("image_size", self.data.image_size), ("train_size", self.data.training_size)):
            try:
                check_image_size(self.model.arch, size)
            except ModelError as error:
                raise ValueError(f"data.{field}: {error}") from None
        return self

    @model_validator(mode="after")
    def _blocks_are_known(self) -> "LearningConfig":
        if self.optimize.layer_decay < 1:
            try:
                check_blocks(self.model.arch)
            except ModelError as error:
                raise ValueError(f"optimize.layer_decay: {error}, or set it to 1") from None
        return self

    @model_validator(mode="after")
    def _can_compute_so(self) -> "LearningConfig":
        if self.compute.fused_optimizer and self.optimize.optimizer not in FUSED:
            raise ValueError(
                f"compute.fused_optimizer: {self.optimize.optimizer} has no fused form: leave it out, or set "
                f"optimize.optimizer to {' or '.join(FUSED)}"
            )
        if self.compute.recompute_activations:
            try:
                check_recomputable(self.model.arch)
            except ModelError as error:
                raise ValueError(f"compute.recompute_activations: {error}, or leave it out") from None
        return self

    @model_validator(mode="after")
    def _batches_suit_batch_norm(self) -> "LearningConfig":
        """Each pass of a worker sees two images at least, also of the largest number of workers.

        torch stops where BatchNorm has one value a channel, and TensorFlow trains on a variance of 0.
        """
        workers, pieces = self.scale.max_workers, self.optimize.accumulate_steps
        if architecture(self.model.arch).batchnorm_momentum is None or self.model.freeze == "backbone":
            return self
        if self.optimize.global_batch_size // workers // pieces < _LEAST_IMAGES:
            share = f"{workers} worker(s)" + (f" in {pieces} steps" if pieces > 1 else "")
            raise ValueError(
                f"optimize.global_batch_size: {self.optimize.global_batch_size} on {share} leaves fewer than "
                f"{_LEAST_IMAGES} images to a pass, from which the BatchNorm of {self.model.arch} learns nothing: "
                f"raise it to {_LEAST_IMAGES * workers * pieces}, or lower scale.workers or optimize.accumulate_steps"
            )
        return self


class TrainingConfig(LearningConfig):
    """How a network is trained: what a training job and each trial of a search have in common."""

    recipe: Literal["a1", "a2", "a3", "finetune", "probe"] | None = None
    """A published training whose settings hold wherever this file has none of its own. From random weights: `a1`, `a2`,
    `a3`, in 600, 300 and 100 epochs to 80.4, 79.8 and 78.1 % top-1 of a ResNet-50 on ImageNet (ResNet strikes back:
    Wightman, Touvron and Jégou 2021). From trained ones: `finetune`, to 57.9 % of a ViT-B on Places365 (He et al.
    2022); and `probe` for the head alone, to 75.3 % of a ResNet-50 of DINO on ImageNet (Caron et al. 2021). `scenerec
    validate` prints what the file becomes."""
    task: TaskName = "classification"
    """`classification`: of each image one class. `multilabel`: any number of labels, of a set that was packed with
    several. Each is asked by itself, by binary cross-entropy; mean average precision (mAP) says which epoch is best."""
    data: DataConfig
    """What to learn from."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_recipe(cls, values: Any) -> Any:
        return with_recipe(values)

    @model_validator(mode="after")
    def _has_what_the_recipe_begins_with(self) -> "TrainingConfig":
        if self.recipe in ("finetune", "probe") and self.model.weights == "none":
            raise ValueError(f"model.weights: the recipe {self.recipe} begins with trained weights: name them here")
        return self

    @model_validator(mode="after")
    def _mixes_no_places(self) -> "TrainingConfig":
        if self.optimize.mix is not None and self.model.geo is not None:
            remedy = "set it to null, as the recipe sets it" if self.recipe else "leave one of them out"
            raise ValueError(f"optimize.mix: two images have two places, and model.geo reads one: {remedy}")
        return self

    @model_validator(mode="after")
    def _batches_hold_the_repeats(self) -> "TrainingConfig":
        repeats, batch = self.data.repeats, self.optimize.global_batch_size
        if repeats > batch:
            raise ValueError(f"data.repeats: {repeats} exceeds optimize.global_batch_size ({batch}): lower it")
        return self

    @model_validator(mode="after")
    def _suits_the_task(self) -> "TrainingConfig":
        if self.task == "multilabel":
            for field, (value, unset, why) in _OF_ONE_CLASS.items():
                if value(self) != unset:
                    raise ValueError(f"{field}: {why} (task is multilabel): leave it out")
        return self

    @property
    def training_loss(self) -> str:
        """What makes the training loss another than val_loss, in words; empty where both are the same function."""
        optimize, of_labels = self.optimize, self.optimize.reads_labels
        differs = {
            "of mixed images": optimize.mix is not None,
            "by binary cross-entropy": of_labels and optimize.loss == "bce" and self.task == "classification",
            "by smoothed labels": of_labels and optimize.label_smoothing > 0,
            "by class weights": optimize.class_weights != "none",
            "by a teacher's answers": optimize.distill is not None,
        }
        return ", ".join(words for words, is_so in differs.items() if is_so)


_OF_ONE_CLASS: dict[str, tuple[Callable[[TrainingConfig], object], object, str]] = {
    "optimize.label_smoothing": (lambda c: c.optimize.label_smoothing, 0, "spreads what one class has over the others"),
    "optimize.bce_threshold": (lambda c: c.optimize.bce_threshold, None, "is for images of one class each"),
    "optimize.distill": (lambda c: c.optimize.distill, None, "compares answers that add up to 1"),
    "data.balance": (lambda c: c.data.balance, 0, "chooses images by their one class"),
}
"""Fields that mean something only where each image has one class: their value, that which is no use, and why."""


class TrainConfig(JobConfig, TrainingConfig):
    """A training job: the whole of train.yaml."""

    kind: Literal["train"]
    """What the file describes."""
