"""The blocks of an architecture, from the images to the head, and a learning rate for each: as names, without torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scenerec.errors import ModelError
from scenerec.models import geo
from scenerec.models.zoo import architecture


@dataclass(frozen=True)
class _Family:
    """Architectures whose blocks are found by the same rule.

    Attributes:
        names: matches the architectures' names.
        block: matches, at the beginning of a parameter's name, the path of the block it is in.
        norm_follows: a path whose number is one above another's is that layer's normalisation, not a block.
        layers: its blocks are single layers.
    """

    names: str
    block: str
    norm_follows: bool = False
    layers: bool = False


_FAMILIES = (
    _Family(r"(wide_)?resne(x)?t\d+.*", r"layer\d+\.\d+"),
    _Family(r"alexnet|vgg\d+", r"(features|classifier)\.\d+", layers=True),
    _Family(r"vgg\d+_bn", r"(features|classifier)\.\d+", norm_follows=True, layers=True),
    _Family(r"convnext_.*|swin_.*", r"features\.[1357]\.\d+"),  # between the stages lie layers that halve the size
    _Family(r"densenet\d+", r"features\.denseblock\d+\.denselayer\d+"),
    _Family(r"efficientnet_.*", r"features\.\d+\.\d+(?=\.block)"),
    _Family(r"googlenet", r"inception\d[a-e]"),
    _Family(r"inception_v3", r"Mixed_\d[a-e]"),
    _Family(r"maxvit_t", r"blocks\.\d+\.layers\.\d+"),
    _Family(r"mnasnet.*", r"layers\.\d+\.\d+(?=\.layers)"),
    _Family(r"mobilenet_.*", r"features\.\d+(?=\.(block|conv))"),
    _Family(r"regnet_.*", r"trunk_output\.block\d+\.block\d+-\d+"),
    _Family(r"shufflenet_.*", r"stage\d\.\d+"),
    _Family(r"squeezenet.*", r"features\.\d+(?=\.(squeeze|expand))"),
    _Family(r"vit_.*", r"encoder\.layers\.encoder_layer_\d+"),
    _Family(r"timm/(vit|eva02|hiera)_.*", r"blocks\.\d+"),
    _Family(r"timm/(convnextv2|efficientvit|fastvit|maxvit)_.*", r"stages\.\d+\.blocks\.\d+"),
    _Family(r"timm/((tf_)?efficientnet|mobilenet)v\d_.*", r"blocks\.\d+\.\d+"),
    _Family(r"timm/regnety_.*", r"s\d+\.b\d+"),
    _Family(r"timm/resnet\d+", r"layer\d+\.\d+"),
    _Family(r"timm/swin_.*", r"layers\.\d+\.blocks\.\d+"),
    _Family(r"timm/tiny_vit_.*", r"stages\.\d+\.blocks\.\d+"),
)


def check_blocks(arch: str) -> None:
    """Raises ModelError for an architecture of whose blocks this module knows nothing."""
    _family(arch)


def check_recomputable(arch: str) -> None:
    """Raises ModelError for an architecture without blocks whose inside could be computed once more."""
    if _family(arch).layers:
        raise ModelError(f"{arch} is made of single layers, of which nothing can be left out: take another network")


def block_paths(arch: str, names: Sequence[str]) -> tuple[str, ...]:
    """Paths of the modules that are the blocks of an architecture, in the order of `names`.

    Args:
        arch: a name of the zoo.
        names: all parameters of the network.

    Raises:
        ModelError: as `check_recomputable`, and `block_numbers`.
    """
    check_recomputable(arch)
    found = (re.match(_family(arch).block, name) for name in names if not is_classifying(name, arch))
    return tuple(dict.fromkeys(each.group() for each in found if each))


def block_numbers(arch: str, names: Sequence[str]) -> dict[str, int]:
    """Number of the block that each parameter is in: from 0, what comes before the first block, up to the head's.

    Args:
        arch: a name of the zoo.
        names: all parameters of the network, in torch's order. What lies between two blocks counts to the first.

    Raises:
        ModelError: `arch` is not in the zoo, or no family of this module has it.
    """
    family = _family(arch)
    numbers: dict[str, int] = {}
    number, current = -1, ""
    for name in (name for name in names if not is_classifying(name, arch)):
        found = re.match(family.block, name)
        path = found.group() if found else current
        if family.norm_follows and path == _next(current):
            path = current
        if path != current or not numbers:
            number, current = number + 1, path
        numbers[name] = number
    return {name: numbers.get(name, number + 1) for name in names}


def lr_factors(arch: str, names: Sequence[str], decay: float) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied by: `decay` once for each block above its own.

    Layer-wise learning-rate decay (ELECTRA, Clark et al. 2020; BEiT, Bao et al. 2022). The head has 1. `names` as for
    `block_numbers`, which is not asked where `decay` is 1.

    Raises:
        ModelError: no family of this module has the architecture.
    """
    if decay == 1:
        return dict.fromkeys(names, 1.0)
    numbers = block_numbers(arch, names)
    last = max(numbers.values())
    return {name: decay ** (last - number) for name, number in numbers.items()}


def _family(arch: str) -> _Family:
    for family in _FAMILIES:
        if re.fullmatch(family.names, arch):
            return family
    raise ModelError(f"the blocks of {arch} are not known: add a rule for it to scenerec/models/blocks.py")


def is_under(name: str, path: str) -> bool:
    """Whether the parameter `name` is `path`, or belongs to the module at `path`."""
    return name == path or name.startswith(f"{path}.")


def is_classifying(name: str, arch: str) -> bool:
    """Whether the parameter `name` belongs to the head, or to what reads coordinates; else it is of the backbone."""
    return is_under(name, architecture(arch).head) or is_under(name, geo.PATH)


def _next(path: str) -> str:
    module, _, number = path.rpartition(".")
    return f"{module}.{int(number) + 1}" if number.isdigit() else ""
