"""The YAML of a pretraining: how a backbone learns from images whose labels nobody reads."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from scenerec.config.augment import AugmentConfig
from scenerec.config.block import Block
from scenerec.config.data import InputConfig
from scenerec.config.job import JobConfig
from scenerec.config.location import Location
from scenerec.config.numbers import Fraction
from scenerec.config.optimize import OptimizeConfig
from scenerec.config.train import LearningConfig
from scenerec.config.views import VIEWS, ViewsConfig

Width = Annotated[int, Field(ge=1, le=65_536)]

_LEAST_IMAGES = 2

_PUBLISHED: dict[str, dict[str, object]] = {
    "simclr": {
        **{"temperature": 0.1, "projector_layers": 2, "projector_width": "features", "embedding_size": 128},
        **{"batchnorm": "both_views"},
    },
    "mocov2": {
        **{"temperature": 0.2, "projector_layers": 2, "projector_width": "features", "embedding_size": 128},
        **{"queue": 65_536, "momentum": 0.999},
    },
    "mocov3": {
        **{"temperature": 1.0, "projector_layers": 2, "projector_width": 4096, "embedding_size": 256},
        **{"momentum": 0.99, "momentum_schedule": "cosine", "predictor_width": 4096},
    },
}
"""What the authors' own programs take for ImageNet and a ResNet-50, by method: the fields that it has."""


class MethodConfig(Block):
    """A method, with the settings of its authors' programs where nothing else is said."""

    method: Literal["simclr", "mocov2", "mocov3"]
    """`simclr` (Chen et al. 2020): the other images of the global batch are the negatives, so it should be large.
    `mocov2` (He et al. 2020; Chen et al. 2020): negatives are in a queue, which a momentum encoder fills. `mocov3`
    (Chen, Xie, He 2021): a momentum encoder and a predictor, and the global batch's negatives."""
    temperature: float = Field(0.1, gt=0)
    """What similarities are divided by. By default 0.1, 0.2 and 1, in the order above (0.2 for mocov3 with a ViT)."""
    projector_layers: int = Field(2, ge=1, le=8)
    """Linear layers between the backbone's features and the embedding (3 for mocov3 with a ViT)."""
    projector_width: Width | Literal["features"] = "features"
    """Width of the projector's inner layers; `features`: that of the backbone's features. By default so, and 4096 of
    mocov3."""
    embedding_size: Width = 128
    """Numbers of an embedding. By default 128, and 256 of mocov3."""
    batchnorm: Literal["both_views", "each_view"] | None = None
    """simclr: of which images of a step BatchNorm takes its statistics: of both views together, as the authors' program
    does, or of each view by itself, as lightly's example does. By default of both."""
    queue: int | None = Field(None, ge=1)
    """mocov2: keys that the queue holds, a multiple of optimize.global_batch_size, and at most an epoch's images. By
    default 65536."""
    momentum: float | None = Field(None, ge=0, le=1)
    """mocov2, mocov3: what the momentum encoder keeps of its weights at a step. By default 0.999 and 0.99."""
    momentum_schedule: Literal["constant", "cosine"] | None = None
    """mocov3: whether the momentum rises to 1 by a half cosine until the end of the run. By default it does."""
    predictor_width: Width | None = None
    """mocov3: width of the predictor's inner layer. By default 4096."""

    @model_validator(mode="before")
    @classmethod
    def _published_settings(cls, values: Any) -> Any:
        published = _PUBLISHED.get(str(values.get("method"))) if isinstance(values, dict) else None
        if published is None:
            return values
        return {**published, **{key: value for key, value in values.items() if value is not None}}

    @model_validator(mode="after")
    def _fields_of_the_method(self) -> "MethodConfig":
        for field in ("batchnorm", "queue", "momentum", "momentum_schedule", "predictor_width"):
            if getattr(self, field) is not None and field not in _PUBLISHED[self.method]:
                others = " and ".join(name for name, known in _PUBLISHED.items() if field in known)
                raise ValueError(f"{field}: {self.method} has none, it is of {others}: leave it out")
        return self

    @property
    def has_momentum_encoder(self) -> bool:
        """Whether keys are made by a second network, which follows the trained one."""
        return self.momentum is not None


class LabelledSetsConfig(Block):
    """A labelled set on which the features are judged while they are learned. Nothing is learned from it."""

    train: Location
    """Packed set whose labelled images are the neighbours, and train the linear probe."""
    val: Location
    """Packed set, of the same classes, whose images are classified."""
    every_epochs: int = Field(1, ge=1)
    """Epochs from one judgement to the next; the last epoch has one in any case."""
    label_share: Fraction = 1.0
    """Share of `train` that is used: a sample by optimize.seed, rounded to 32 images."""
    neighbors: int = Field(20, ge=1)
    """Neighbours that vote (Wu et al. 2018); of a smaller set, all of it."""


class PretrainingConfig(LearningConfig):
    """How a backbone is pretrained: what a pretraining job and each trial of a search have in common."""

    data: InputConfig
    """The images to learn from; their labels are not read."""
    pretrain: MethodConfig
    """By which method."""
    views: ViewsConfig
    """How the two views of an image are made: those of the method's paper, but for what is given here."""
    probe: LabelledSetsConfig | None = None
    """On what the features are judged; without it, by the contrastive loss alone."""

    @property
    def paired(self) -> InputConfig:
        """The input of the first view."""
        return self.data.model_copy(update={"augment": self.views.first})

    @model_validator(mode="before")
    @classmethod
    def _published_views(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(given := values.get("views") or {}, dict):
            return values
        block = values.get("pretrain")
        method = block.get("method") if isinstance(block, dict) else None
        views: dict[str, Any] = VIEWS.get(
            str(method), VIEWS["simclr"]
        ).model_dump()  # of another method its field tells
        for view, changes in given.items():
            both = isinstance(changes, dict) and view in views
            views[view] = {**views[view], **changes} if both else changes
        return {**values, "views": views}

    @model_validator(mode="after")
    def _reads_no_labels(self) -> "PretrainingConfig":
        data, optimize, defaults = self.data, self.optimize, OptimizeConfig.model_fields
        if data.augment != AugmentConfig():
            raise ValueError("data.augment: an image has two views here: say it of views.first and views.second")
        if data.balance:
            raise ValueError("data.balance: evens out classes, and labels are not read here: leave it out")
        if data.train_size is not None:
            raise ValueError("data.train_size: image_size is that of both views here: leave it out, and set that one")
        if data.repeats > 1:
            raise ValueError("data.repeats: the copies of an image would be its negatives: leave it out")
        if self.model.geo is not None:
            raise ValueError("model.geo: coordinates are not read here: leave it out, and let the training read them")
        if self.model.drop_path is not None:
            raise ValueError("model.drop_path: is for learning from labels: leave it out")
        if self.model.freeze == "backbone":
            raise ValueError("model.freeze: backbone: is what is pretrained: name some of its modules, or leave it out")
        if self.compute.compile:
            raise ValueError("compute.compile: is for learning from labels: leave it out")
        if self.compute.recompute_activations and self.scale.max_workers > 1:
            raise ValueError(
                "compute.recompute_activations: BatchNorm goes by the images of all workers here, who would have to "
                "meet in each repetition: leave it out, or set scale.workers to 1"
            )
        for field, reason in _MEANINGLESS.items():
            if getattr(optimize, field) != defaults[field].default:
                raise ValueError(f"optimize.{field}: {reason}: leave it out")
        return self

    @model_validator(mode="after")
    def _has_negatives(self) -> "PretrainingConfig":
        batch, queue = self.optimize.global_batch_size, self.pretrain.queue
        if batch < _LEAST_IMAGES:
            raise ValueError(f"optimize.global_batch_size: {batch} image has no other beside it: raise it to 2 or more")
        if queue is not None and queue % batch:
            fitting = max(queue // batch, 1) * batch
            raise ValueError(
                f"pretrain.queue: {queue} is no multiple of optimize.global_batch_size ({batch}), by which it moves "
                f"on: take {fitting}"
            )
        return self


class PretrainConfig(JobConfig, PretrainingConfig):
    """A pretraining: the whole of pretrain.yaml."""

    kind: Literal["pretrain"]
    """What the file describes."""


_MEANINGLESS = {
    "loss": "labels are not read here",
    "label_smoothing": "labels are not read here",
    "class_weights": "labels are not read here",
    "mix": "labels are not read here",
    "distill": "teachers teach classes",
    "accumulate_steps": "each part of a batch would have its own part for negatives",
    "ema_decay": "momentum encoders are methods here (mocov2, mocov3)",
    "layer_decay": "it is for fine-tuning",
}
"""Fields of `optimize` that pretraining has no use for, and why."""
