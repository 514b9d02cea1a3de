"""The YAML of a probe: which of several frozen backbones suits these photographs."""

from typing import Literal

from pydantic import Field, model_validator

from scenerec.config.augment import AugmentConfig
from scenerec.config.block import Block
from scenerec.config.data import DataConfig
from scenerec.config.job import JobConfig
from scenerec.config.model import NetworkConfig
from scenerec.config.numbers import Positive
from scenerec.config.scale import ScaleConfig
from scenerec.errors import ModelError
from scenerec.models.zoo import check_image_size


class BackboneConfig(NetworkConfig):
    """A backbone that is tried. It is never trained: its features are what a head learns from."""

    image_size: int | None = Field(None, ge=16, le=1024)
    """Side of its images in pixels; by default data.image_size."""

    @property
    def name(self) -> str:
        """Name for people: `resnet18 (IMAGENET1K_V1)`."""
        size = f", {self.image_size} px" if self.image_size else ""
        weights = "random" if self.weights == "none" else self.weights
        return f"{self.arch} ({weights}{', averaged' if self.weights_ema else ''}{size})"


class LinearHeadConfig(Block):
    """The linear classifier upon the features: multinomial logistic regression, by L-BFGS to its only minimum."""

    decays: tuple[Positive, ...] = Field((1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1)
    """Weight decays that are tried, on features of deviation 1. Training images that are held back decide."""
    held_back: float = Field(0.2, gt=0, lt=1)
    """Share of each class's training images by which the decay is chosen; the head then learns from all of them."""


class NearestNeighborsConfig(Block):
    """The vote of the nearest training images (Wu, Xiong, Yu, Lin 2018)."""

    neighbors: int = Field(20, ge=1)
    """Images that vote; of a smaller set, all of it."""
    temperature: float = Field(0.07, gt=0)
    """What cosine similarities are divided by: a vote counts exp(similarity / temperature)."""


class ProbeConfig(JobConfig):
    """A probe: the whole of probe.yaml."""

    kind: Literal["probe"]
    """What the file describes."""
    framework: Literal["torch", "tensorflow"]
    """The framework that computes the features; those of both are equal but for rounding."""
    data: DataConfig
    """The packed sets, as of a training; each image is seen once, as it is evaluated."""
    backbones: tuple[BackboneConfig, ...] = Field(min_length=1)
    """What is tried."""
    linear: LinearHeadConfig = LinearHeadConfig()
    """How the linear head is fitted, by whose top-1 on data.val the backbones are ranked."""
    knn: NearestNeighborsConfig | None = NearestNeighborsConfig()
    """How the neighbours vote, for comparison; null leaves that out."""
    scale: ScaleConfig = ScaleConfig()
    """On how many machines the features are computed."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of random first weights, and of which images are held back."""

    def image_size(self, backbone: BackboneConfig) -> int:
        """Side of a backbone's images in pixels."""
        return backbone.image_size or self.data.image_size

    @model_validator(mode="after")
    def _backbones_differ(self) -> "ProbeConfig":
        seen = set()
        for backbone in self.backbones:
            what = (backbone.arch, backbone.weights, backbone.weights_ema, self.image_size(backbone))
            if what in seen:
                raise ValueError(f"backbones: {backbone.name} stands twice: name it once")
            seen.add(what)
        return self

    @model_validator(mode="after")
    def _image_sizes_suit_the_architectures(self) -> "ProbeConfig":
        for number, backbone in enumerate(self.backbones):
            try:
                check_image_size(backbone.arch, self.image_size(backbone))
            except ModelError as error:
                raise ValueError(f"backbones.{number}.image_size: {error}") from None
        return self

    @model_validator(mode="after")
    def _sees_each_image_once(self) -> "ProbeConfig":
        data, defaults = self.data, DataConfig.model_fields
        if not isinstance(data.train, str):
            raise ValueError("data.train: a probe takes one set: name it alone")
        for field, reason in _MEANINGLESS.items():
            default = AugmentConfig() if field == "augment" else defaults[field].default
            if getattr(data, field) != default:
                raise ValueError(f"data.{field}: {reason}: leave it out")
        return self


_MEANINGLESS = {
    "augment": "each image is seen once, as it is evaluated",
    "balance": "each image is seen once",
    "repeats": "each image is seen once",
    "train_size": "each image is seen once, as it is evaluated",
    "eval_crops": "each image is seen once, by its centre",
    "lanes": "each image is seen once, whatever the order",
    "log_samples": "each image is seen once, in the order of the set",
}
"""Fields of `data` that a probe has no use for, and why."""
