"""Which architectures drop elements or branches of single samples while they are trained: by name.

Dropout (Srivastava et al. 2014) and stochastic depth (Huang et al. 2016).
"""

import re

from scenerec.models.zoo import more_of_timm

_OF_TORCHVISION = r"(convnext|efficientnet|maxvit|swin)_.*"
_OF_TIMM = (
    r"timm/(tf_)?efficientnet(v2)?_.*"
    r"|timm/(convnext|deit|eva|fastvit|hiera|maxvit|mobilenetv4|regnet|resnet|resnext|swin|tiny_vit|vit).*"
)


_DROP_ELEMENTS = r"alexnet|googlenet|inception_v3|(mnasnet|mobilenet|squeezenet|vgg).*"
_DROPS_OF_TIMM = r"timm/(maxvit_rmlp|swin)_.*"

DROP_VERSION = 2
"""Version of what is dropped. Version 1 drew it by rank and framework, version 2 by the sample."""


def drops_by_itself(arch: str) -> bool:
    """Whether something is dropped of the architecture as it is published, where no `model.drop_path` is set."""
    if arch in more_of_timm():
        return more_of_timm()[arch].drops
    return re.fullmatch(f"{_OF_TORCHVISION}|{_DROP_ELEMENTS}|{_DROPS_OF_TIMM}", arch) is not None


def has_drop_path(arch: str) -> bool:
    """Whether `model.drop_path` can be set for the architecture: its blocks have layers for it."""
    if arch in more_of_timm():
        return more_of_timm()[arch].drop_path
    return re.fullmatch(f"{_OF_TORCHVISION}|{_OF_TIMM}", arch) is not None
