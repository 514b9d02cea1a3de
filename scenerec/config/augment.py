"""How training images are varied."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scenerec.config.block import Block
from scenerec.config.numbers import Fraction, Positive

Sigma = Annotated[float, Field(gt=0, le=50)]


class RandAugmentConfig(Block):
    """RandAugment (Cubuk et al. 2020), with the operations and ranges of torchvision's."""

    num_ops: int = Field(2, ge=1, le=8)
    """How many operations change each image, one after another; each is drawn anew, one of 14, of which one does
    nothing."""
    magnitude: int = Field(9, ge=0, le=30)
    """How strongly they do, in thirtieths of an operation's range (timm counts in tenths: its `m9` is 27 here)."""


class AugmentConfig(Block):
    """How training images are varied. Draws depend on seed, epoch and position only: both frameworks see the same."""

    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    """Random resized crop: smallest and largest share of the image's area. [1, 1] takes nearly the whole image."""
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Random resized crop: narrowest and widest aspect ratio (width / height)."""
    flip: bool = True
    """Mirror half of the images left to right."""
    rand_augment: RandAugmentConfig | None = None
    """Operations on each image after crop and flip: shears, shifts, turns, and changes of the levels; such as
    {num_ops: 2, magnitude: 9}. What comes into the picture from beyond its edges is black."""
    trivial_augment: bool = False
    """TrivialAugment (Müller and Hutter 2021): one such operation on each image, drawn with its strength, from the
    wide ranges of torchvision's TrivialAugmentWide."""
    color_jitter: float = Field(0.0, ge=0, lt=1)
    """Brightness, contrast and saturation are each scaled by a factor from [1 - j, 1 + j]."""
    saturation: float | None = Field(None, ge=0, lt=1)
    """The saturation's own j in place of color_jitter's."""
    hue: float = Field(0.0, ge=0, le=0.5)
    """The colours are turned by a share of the circle from [-hue, hue] (in YIQ, which keeps the brightness)."""
    drop_coordinates: float = Field(0.1, ge=0, le=1)
    """Share of the images whose coordinates are hidden from a network that takes them (model.geo), so that it learns to
    work without; the others that have none add to it."""
    color_share: Fraction = 1.0
    """Share of the images of which brightness, contrast, saturation and hue are changed."""
    gray: float = Field(0.0, ge=0, le=1)
    """Share of the images that lose their colours."""
    blur: float = Field(0.0, ge=0, le=1)
    """Share of the images that are blurred by a Gaussian, before their colours change."""
    blur_sigma: tuple[Sigma, Sigma] = (0.1, 2.0)
    """Smallest and largest deviation of the blur, in pixels at image_size 224; at another one in proportion."""
    solarize: float = Field(0.0, ge=0, le=1)
    """Share of the images whose bright levels, of 128 and more, are inverted, after their colours have changed."""
    erase: float = Field(0.0, ge=0, le=1)
    """Share of the images of which a random rectangle is erased (Zhong et al. 2020): after blur and operations, before
    color_jitter, hue, gray and solarize, which change it with the image."""
    erase_scale: tuple[Fraction, Fraction] = (0.02, 0.33)
    """Smallest and largest share of the image that the rectangle covers."""
    erase_ratio: tuple[Positive, Positive] = (0.3, 3.3)
    """Smallest and largest aspect ratio (height / width) of the rectangle."""
    erase_mode: Literal["const", "pixel"] = "const"
    """What the rectangle is filled with: `const` is the colour that becomes 0 in normalisation, as in torchvision;
    `pixel` is noise, for each pixel and channel a normal number after normalisation, as timm's mode of that name."""

    @property
    def saturation_jitter(self) -> float:
        """How far the saturation is changed."""
        return self.color_jitter if self.saturation is None else self.saturation

    @property
    def changes_colors(self) -> bool:
        """Whether images get other colours."""
        return bool(self.color_jitter or self.saturation_jitter or self.hue or self.gray or self.solarize)

    @model_validator(mode="after")
    def _ordered(self) -> "AugmentConfig":
        for field in ("crop_scale", "crop_ratio", "blur_sigma", "erase_scale", "erase_ratio"):
            low, high = getattr(self, field)
            if low > high:
                raise ValueError(f"{field}: the first number must not exceed the second")
        return self

    @model_validator(mode="after")
    def _one_policy(self) -> "AugmentConfig":
        if self.rand_augment and self.trivial_augment:
            raise ValueError(
                "trivial_augment: rand_augment draws the same operations already: leave one of them out, or "
                "set it to null where a recipe sets it"
            )
        return self
