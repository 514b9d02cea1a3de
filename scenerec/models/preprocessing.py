"""How pixels become what weights have learned to see: it belongs to a network's first weights, and goes along with it.

Weights that were trained on pixels of one mean, deviation and filter answer worse to those of another.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import ConfigDict, Field, ValidationError

from scenerec.errors import ModelError
from scenerec.frozen import Frozen, first_problem

Interpolation = Literal["bilinear", "bicubic"]
"""Filter by which pictures are resized; both are widened where they shrink (antialiased), bicubic with a = -0.5."""

Channels = tuple[float, float, float]
"""A number for each of R, G and B."""
_Deviation = Annotated[float, Field(gt=0)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of R, G and B in [0, 1] over ImageNet: what torchvision's weights expect."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of R, G and B in [0, 1] over ImageNet."""

METADATA_KEY = "preprocessing"
"""Under which the header of a safetensors file has it, as JSON."""

_LEVELS = 255


class SeesPictures(Protocol):
    """Whatever tells how a picture is resized and cropped for it: a predictor, a bundle's preprocessing."""

    @property
    def image_size(self) -> int:
        """Side of the square that the network sees, in pixels."""

    @property
    def eval_crop_ratio(self) -> float:
        """Share of the resized picture's short side that the crop keeps."""

    @property
    def interpolation(self) -> Interpolation:
        """Filter by which the picture is resized."""


class WeightPreprocessing(Frozen):
    """What weights expect of the pixels; ImageNet's and torchvision's of 2016 where nothing else is said."""

    model_config = ConfigDict(allow_inf_nan=False)

    mean: Channels = IMAGENET_MEAN
    """Mean of red, green and blue in [0, 1], which is subtracted."""
    std: tuple[_Deviation, _Deviation, _Deviation] = IMAGENET_STD
    """Deviation of red, green and blue in [0, 1], which is divided by."""
    interpolation: Interpolation = "bilinear"
    """Filter by which pictures are resized, antialiased."""
    eval_crop_ratio: float = Field(0.875, gt=0, le=1)
    """Share that the crop keeps: the short side is resized to image_size / eval_crop_ratio, and the centre cut out."""

    @property
    def mean_levels(self) -> Channels:
        """The mean in levels from 0 to 255."""
        return _of_each(lambda mean: _LEVELS * mean, self.mean)

    @property
    def std_levels(self) -> Channels:
        """The deviation in levels from 0 to 255."""
        return _of_each(lambda std: _LEVELS * std, self.std)

    @property
    def darkest(self) -> Channels:
        """Level 0 of R, G, B, normalised."""
        return _of_each(lambda mean, std: -mean / std, self.mean_levels, self.std_levels)

    @property
    def brightest(self) -> Channels:
        """Level 255 of R, G, B, normalised."""
        return _of_each(lambda mean, std: (_LEVELS - mean) / std, self.mean_levels, self.std_levels)

    @property
    def metadata(self) -> dict[str, str]:
        """What the header of a safetensors file says of it."""
        return {METADATA_KEY: self.model_dump_json()}

    @property
    def words(self) -> str:
        """The same for people, in a line."""
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        named = "ImageNet's mean and deviation" if self.is_imagenet else f"mean {mean}, deviation {std}"
        return f"{named}; {self.interpolation}, crop ratio {self.eval_crop_ratio:g}"

    @property
    def is_imagenet(self) -> bool:
        """Whether mean and deviation are ImageNet's."""
        return (self.mean, self.std) == (IMAGENET_MEAN, IMAGENET_STD)

    def renormalization(self, other: "WeightPreprocessing") -> tuple[Channels, Channels] | None:
        """What turns pixels that are normalised as `other` wants them into what this wants: a factor, then an addend.

        None where nothing changes.
        """
        if (self.mean, self.std) == (other.mean, other.std):
            return None
        factor = _of_each(lambda theirs, ours: theirs / ours, other.std, self.std)
        return factor, _of_each(lambda theirs, ours, std: (theirs - ours) / std, other.mean, self.mean, self.std)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> "WeightPreprocessing":
        """That of the block `data` in a run's config; what an older one does not say is ImageNet's.

        Raises ModelError for values that are none.
        """
        told = {field: data[field] for field in WeightPreprocessing.model_fields if data.get(field) is not None}
        try:
            return cls(**told)
        except ValidationError as error:
            raise ModelError(f"data: {first_problem(error)}") from None

    def changed(self, **changes: Any) -> Self:
        """The same with other values in some fields; None leaves a field as it is."""
        return self.model_copy(update={field: value for field, value in changes.items() if value is not None})


def _of_each(function: Callable[..., float], *channels: Channels) -> Channels:
    red, green, blue = map(function, *channels)
    return red, green, blue


IMAGENET = WeightPreprocessing()
"""ImageNet's mean and deviation, bilinear, with the centre crop of 0.875: what most weights of torchvision expect."""
