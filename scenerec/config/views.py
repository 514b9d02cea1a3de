"""The two views of an image from which self-supervised pretraining learns, as the papers' code draws them."""

from scenerec.config.augment import AugmentConfig
from scenerec.config.block import Block


class ViewsConfig(Block):
    """How an image's two views are varied, each by draws of its own."""

    first: AugmentConfig
    """The first view."""
    second: AugmentConfig
    """The second view."""


_SIMCLR = AugmentConfig(color_jitter=0.8, hue=0.2, color_share=0.8, gray=0.2, blur=0.5)
_MOCO_V2 = AugmentConfig(crop_scale=(0.2, 1.0), color_jitter=0.4, hue=0.1, color_share=0.8, gray=0.2, blur=0.5)
_MOCO_V3 = AugmentConfig(crop_scale=(0.2, 1.0), color_jitter=0.4, saturation=0.2, hue=0.1, color_share=0.8, gray=0.2)

VIEWS = {
    "simclr": ViewsConfig(first=_SIMCLR, second=_SIMCLR),
    "mocov2": ViewsConfig(first=_MOCO_V2, second=_MOCO_V2),
    "mocov3": ViewsConfig(
        first=_MOCO_V3.model_copy(update={"blur": 1.0}),
        second=_MOCO_V3.model_copy(update={"blur": 0.1, "solarize": 0.2}),
    ),
}
"""By method: SimCLR (Chen et al. 2020, appendix A, of strength 1), MoCo v2 (Chen et al. 2020), MoCo v3 (Chen, Xie, He
2021, after BYOL, Grill et al. 2020, appendix B; with the crops of its ResNets: those of transformers begin at 0.08)."""
