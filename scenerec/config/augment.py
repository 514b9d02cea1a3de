"""How training images are varied."""

from typing import Annotated

from pydantic import Field, model_validator

from scenerec.config.block import Block
from scenerec.config.numbers import Fraction, Positive

Sigma = Annotated[float, Field(gt=0, le=50)]


class AugmentConfig(Block):
    """How training images are varied. Draws depend on seed, epoch and position only: both frameworks see the same."""

    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    """Random resized crop: smallest and largest share of the image's area. [1, 1] takes nearly the whole image."""
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Random resized crop: narrowest and widest aspect ratio (width / height)."""
    flip: bool = True
    """Mirror half of the images left to right."""
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
        for field in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, field)
            if low > high:
                raise ValueError(f"{field}: the first number must not exceed the second")
        return self
