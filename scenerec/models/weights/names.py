"""Names of weights as people save them, brought to torchvision's of today."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

# What torch wraps around a whole network or, as in the Places365 project's AlexNet, around a part of it: DataParallel,
# torch.compile, FSDP, activation checkpointing. No network of the zoo has modules of these names.
_WRAPPERS = re.compile(r"(^|\.)((?:(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+)")
# torchvision's DenseNets once called their layers norm.1, and renames what it loads by this expression.
_OLD_DENSE_LAYER = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$"
)
# And its vision transformers, whose published files still have the old names, their linear layers.
_OLD_TRANSFORMER_LAYER = re.compile(r"(\.encoder_layer_\d+\.mlp)\.linear_([12])\.")


def current_name(key: str) -> str:
    """The name of a tensor without what wraps modules, as torchvision spells it today."""
    key = _OLD_DENSE_LAYER.sub(r"\1\2", _WRAPPERS.sub(r"\1", key))
    return _OLD_TRANSFORMER_LAYER.sub(lambda found: f"{found[1]}.{'0' if found[2] == '1' else '3'}.", key)


def wrappers(keys: Iterable[str]) -> tuple[str, ...]:
    """What `current_name` takes off these keys, each once: `_orig_mod.module.`."""
    return tuple(dict.fromkeys(found[2] for key in keys for found in _WRAPPERS.finditer(key)))


def likely_prefixes(keys: Iterable[str], expected: Collection[str]) -> list[str]:
    """The prefixes under which most of the `expected` keys are found: `model.`; "" where they stand alone.

    Several, sorted, where as many are found under each; none where nothing is found.
    """
    found: Counter[str] = Counter()
    for key in keys:
        for end in (0, *(dot.end() for dot in re.finditer(r"\.", key))):
            if key[end:] in expected:
                found[key[:end]] += 1
    most = max(found.values(), default=0)
    return sorted(prefix for prefix, count in found.items() if count == most)


def clash(names: Mapping[str, str]) -> tuple[str, str] | None:
    """Two keys that are brought to the same name, by key -> name; None where there are no such two."""
    first: dict[str, str] = {}
    for key, name in names.items():
        if name in first:
            return first[name], key
        first[name] = key
    return None
