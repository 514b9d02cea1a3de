"""How training images are mixed with each other, and their targets with them."""

from pydantic import Field, model_validator

from scenerec.config.block import Block


class MixConfig(Block):
    """Each training image is mixed with the one at its place in the global batch before, and so is its target."""

    mixup: float = Field(0.0, ge=0)
    """mixup (Zhang et al. 2018): both images shine through each other, by a share from Beta(mixup, mixup). 0.1 to 0.2
    mixes a little, 1 mixes much; 0 does none of it."""
    cutmix: float = Field(0.0, ge=0)
    """CutMix (Yun et al. 2019): a rectangle of the other image is laid over this one, of a share of its area from
    Beta(cutmix, cutmix); 1 in the paper. 0 does none of it."""
    share: float = Field(1.0, ge=0, le=1)
    """Share of the images that are mixed."""
    cutmix_share: float = Field(0.5, ge=0, le=1)
    """Share of CutMix among the mixed images, where both are asked for."""

    @model_validator(mode="after")
    def _says_how(self) -> "MixConfig":
        """By 0 both may be left out, as a search does."""
        if not self.model_fields_set & {"mixup", "cutmix"}:
            raise ValueError("name mixup or cutmix, which mix, or leave the block out")
        return self
