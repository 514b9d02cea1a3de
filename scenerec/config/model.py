"""The network of a job, and its first weights."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from scenerec.config.block import Block, none_to_text
from scenerec.config.geo import GeoConfig
from scenerec.config.network import Architecture, expand_weights
from scenerec.errors import ModelError
from scenerec.models.drop_path import has_drop_path
from scenerec.models.weights.published import find_weights, is_name
from scenerec.models.zoo import TIMM, split_tag


def _freezes_something(value: object) -> object:
    """One clear message in place of one for each kind of value that could have been."""
    is_list = isinstance(value, (list, tuple)) and value and all(isinstance(path, str) and path for path in value)
    if value in ("none", "backbone") or is_list:
        return value
    raise ValueError("must be `none`, `backbone`, or a list of modules such as [conv1, bn1, layer1]")


Weights = Annotated[str, BeforeValidator(none_to_text), AfterValidator(expand_weights)]
Freeze = Annotated[
    Literal["none", "backbone"] | tuple[str, ...], BeforeValidator(_freezes_something), BeforeValidator(none_to_text)
]


class NetworkConfig(Block):
    """An architecture and its first weights."""

    arch: Architecture
    """A classifier of torchvision (resnet18, mobilenet_v3_small, ...) or timm (timm/convnextv2_tiny, ...), in either
    framework; `scenerec models` lists them."""
    weights: Weights = "none"
    """`none` (random, by optimize.seed); a published name such as IMAGENET1K_V2, DEFAULT or places365 (`scenerec models
    show ARCH` lists them); the URL of a .safetensors, .pth or .keras file, which may end in #sha256=DIGITS; or path or
    s3:// of such a file, of a SavedModel, a checkpoint or a run. The head is replaced where the classes differ."""
    weights_ema: bool = False
    """Take the moving averages (`model_ema`) that the file of `weights`, a checkpoint or a run keeps beside them."""
    accept_licence: bool = False
    """You have read the licence of `weights`, and accept it, where its owner asks for that before they are used
    (`scenerec models show ARCH` says where). Also `scenerec submit --accept-licence`, or the licence's name in the
    environment variable SCENEREC_ACCEPT_LICENCE of who submits."""

    @model_validator(mode="before")
    @classmethod
    def _tag_names_weights(cls, values: Any) -> Any:
        """`timm/ARCH.TAG` is ARCH with the weights TAG."""
        arch, tag = split_tag(str(values.get("arch"))) if isinstance(values, dict) else ("", "")
        if not (tag and arch.startswith(TIMM)):
            return values
        if none_to_text(values.get("weights", tag)) != tag:
            raise ValueError(f"arch: {arch}.{tag} names its weights, and weights others: leave out one of them")
        return {**values, "arch": arch, "weights": tag}

    @field_validator("weights")
    @classmethod
    def _published(cls, weights: str, others: ValidationInfo) -> str:
        """DEFAULT becomes the name that it stands for now, so that a run's config keeps its meaning."""
        if weights == "none" or not is_name(weights) or "arch" not in others.data:
            return weights
        try:
            return find_weights(others.data["arch"], weights).name
        except ModelError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _averages_are_of_a_file(self) -> "NetworkConfig":
        if self.weights_ema and is_name(self.weights):
            what = "there are no weights" if self.weights == "none" else f"{self.weights} has no averages beside it"
            raise ValueError(f"weights_ema: {what}: name a file, a checkpoint or a run in weights, or leave it out")
        return self


class ModelConfig(NetworkConfig):
    """The network and its first weights."""

    freeze: Freeze = "none"
    """What keeps its first weights: `none`; `backbone`, so that the head (and what reads coordinates) alone is trained,
    a linear probe; or a list of modules by their torch paths, such as [conv1, bn1, layer1]. BatchNorm in it keeps its
    running statistics."""
    drop_path: float | None = Field(None, ge=0, lt=1)
    """Stochastic depth (Huang et al. 2016): how often the branch of the last block is left out of a training image, of
    those before in proportion to their depth. By default as torchvision and timm publish the architecture."""
    geo: GeoConfig | None = None
    """Lets the network read coordinates beside the image; `{}` takes the defaults. Without it, it sees images alone."""

    @model_validator(mode="after")
    def _has_branches_to_drop(self) -> "ModelConfig":
        if self.drop_path is not None and not has_drop_path(self.arch):
            raise ValueError(f"drop_path: {self.arch} has no layers of stochastic depth: leave it out")
        return self

    @model_validator(mode="after")
    def _fusion_suits_the_architecture(self) -> "ModelConfig":
        if self.geo is not None:
            try:
                self.geo.check_suits(self.arch)
            except ModelError as error:
                raise ValueError(f"geo.fusion: {error}") from None
        return self
