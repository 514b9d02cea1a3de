"""Which architectures can drop branches of single samples (stochastic depth, Huang et al. 2016): by name."""

import re

_OF_TORCHVISION = r"(convnext|efficientnet|maxvit|swin)_.*"
_OF_TIMM = (
    r"timm/(tf_)?efficientnet(v2)?_.*"
    r"|timm/(convnext|deit|eva|fastvit|hiera|maxvit|mobilenetv4|regnet|resnet|resnext|swin|tiny_vit|vit).*"
)


def has_drop_path(arch: str) -> bool:
    """Whether `model.drop_path` can be set for the architecture: its blocks have layers for it."""
    return re.fullmatch(f"{_OF_TORCHVISION}|{_OF_TIMM}", arch) is not None
