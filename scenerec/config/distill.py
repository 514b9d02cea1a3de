"""How a network learns from another one, which has learned already: `optimize.distill`."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from scenerec.config.block import Block
from scenerec.config.network import Architecture, expand_weights
from scenerec.errors import ModelError
from scenerec.models.weights.published import find_weights, is_name
from scenerec.models.zoo import check_image_size


class DistillConfig(Block):
    """A trained teacher whose answers the network learns beside the labels, or instead of them."""

    teacher: Annotated[str, Field(min_length=1), AfterValidator(expand_weights)]
    """Who teaches: a run (its best checkpoint) or a checkpoint, of either framework; a bundle, int8 too; a version in a
    registry, REGISTRY/NAME@ALIAS or REGISTRY/NAME:NUMBER; weights: a published name, a URL or a file, as in
    model.weights. Its classes must be those that are learned; where it knows their names, in any order."""
    arch: Architecture | None = None
    """The teacher's architecture, where `teacher` does not tell: of published names, and of most files of weights."""
    image_size: int | None = Field(None, ge=16, le=1024)
    """Side in pixels at which the teacher sees the training images, resized to it; by default the size of its own run,
    bundle or published weights. A smaller one saves time. A bundle has one size alone."""
    temperature: float = Field(2.0, gt=0)
    """What the logits of both are divided by before the softmax (Hinton et al. 2015): above 1 it shows more of what the
    teacher thinks of the classes that are not the first."""
    weight: float = Field(0.5, gt=0, le=1)
    """The teacher's share of the loss: (1 - weight) * cross-entropy + weight * temperature^2 * KL(teacher || network).
    With 1 no label of a training image is read: data.train may then have other classes, or none that mean anything."""

    @property
    def reads_labels(self) -> bool:
        """Whether labels of training images count in the loss."""
        return self.weight < 1

    @model_validator(mode="after")
    def _consistent(self) -> "DistillConfig":
        if self.teacher == "none":
            raise ValueError("teacher: is none: leave optimize.distill out, or name a run, a bundle or weights")
        if is_name(self.teacher) and self.arch is None:
            raise ValueError(
                f"arch: name the architecture of the published weights {self.teacher}; of a folder or file write the "
                f"whole path in teacher, such as ./{self.teacher}"
            )
        try:
            if self.arch is not None and is_name(self.teacher):
                find_weights(self.arch, self.teacher)
        except ModelError as error:
            raise ValueError(f"teacher: {error}") from None
        try:
            if self.arch is not None and self.image_size is not None:
                check_image_size(self.arch, self.image_size)
        except ModelError as error:
            raise ValueError(f"image_size: {error}") from None
        return self
