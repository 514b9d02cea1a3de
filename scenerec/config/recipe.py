"""Trainings that others have published, by name: what they set in a train.yaml where its writer says nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from scenerec.models.drop_path import has_drop_path


class Recipe(NamedTuple):
    """A published training."""

    settings: Mapping[str, Mapping[str, Any]]
    """The blocks of a file, as their authors set them."""
    lr: float
    """Peak learning rate at the global batch of `settings`."""
    lr_power: float
    """By which power of the global batch the learning rate changes with it: 1 (Goyal et al. 2017), or 1/2 where an
    optimizer evens out the gradients' size (You et al. 2020, section 4)."""
    reached: str
    """What it has come to elsewhere, and who says so."""


_STRIKES_BACK = "(Wightman, Touvron and Jégou 2021)"
_WARMUP_EPOCHS = 5.0
_MOST_WARMUP = 0.1  # of the epochs

_LAMB = {"optimizer": "lamb", "eps": 1e-6, "clip_grad_norm": 1.0, "global_batch_size": 2048}
_BCE = {"loss": "bce", "bce_threshold": 0.2}
_LONG_DATA = {
    "eval_crop_ratio": 0.95,
    "repeats": 3,
    "augment": {"rand_augment": {"num_ops": 2, "magnitude": 21}},
}

RECIPES = {
    "a1": Recipe(
        {
            "data": _LONG_DATA,
            "model": {"drop_path": 0.05},
            "optimize": {
                **_LAMB,
                **_BCE,
                "epochs": 600,
                "weight_decay": 0.01,
                "label_smoothing": 0.1,
                "mix": {"mixup": 0.2, "cutmix": 1.0},
            },
        },
        lr=5e-3,
        lr_power=0.5,
        reached=f"80.4 % top-1 of a ResNet-50 on ImageNet {_STRIKES_BACK}",
    ),
    "a2": Recipe(
        {
            "data": _LONG_DATA,
            "model": {"drop_path": 0.05},
            "optimize": {**_LAMB, **_BCE, "epochs": 300, "weight_decay": 0.02, "mix": {"mixup": 0.1, "cutmix": 1.0}},
        },
        lr=5e-3,
        lr_power=0.5,
        reached=f"79.8 % top-1 of a ResNet-50 on ImageNet {_STRIKES_BACK}",
    ),
    "a3": Recipe(
        {
            "data": {
                "image_size": 224,
                "train_size": 160,
                "eval_crop_ratio": 0.95,
                "augment": {"rand_augment": {"num_ops": 2, "magnitude": 18}},
            },
            "optimize": {**_LAMB, **_BCE, "epochs": 100, "weight_decay": 0.02, "mix": {"mixup": 0.1, "cutmix": 1.0}},
        },
        lr=8e-3,
        lr_power=0.5,
        reached=f"78.1 % top-1 of a ResNet-50 on ImageNet {_STRIKES_BACK}",
    ),
    "finetune": Recipe(
        {
            "data": {
                "augment": {
                    "rand_augment": {"num_ops": 2, "magnitude": 27},
                    "erase": 0.25,
                    "erase_mode": "pixel",
                }
            },
            "model": {"drop_path": 0.1},
            "optimize": {
                "optimizer": "adamw",
                "global_batch_size": 1024,
                "epochs": 100,
                "min_lr": 1e-6,
                "weight_decay": 0.05,
                "layer_decay": 0.65,
                "label_smoothing": 0.1,
                "mix": {"mixup": 0.8, "cutmix": 1.0},
            },
        },
        lr=2e-3,
        lr_power=1.0,
        reached="57.9 % top-1 of a ViT-B of masked autoencoders on Places365 (He et al. 2022)",
    ),
    "probe": Recipe(
        {
            "model": {"freeze": "backbone"},
            "optimize": {
                "optimizer": "sgd",
                "nesterov": False,
                "global_batch_size": 1024,
                "epochs": 100,
                "warmup_epochs": 0.0,
            },
        },
        lr=4e-3,
        lr_power=1.0,
        reached="75.3 % top-1 of a ResNet-50 of DINO on ImageNet (Caron et al. 2021)",
    ),
}
"""`a1`, `a2`, `a3`: Wightman, Touvron and Jégou 2021 (ResNet strikes back), table 2. `finetune`: He et al. 2022 (masked
autoencoders), as their program fine-tunes a ViT-B. `probe`: Caron et al. 2021 (DINO), as their program trains a linear
classifier upon frozen features. docs/recipes.md says what each reaches, and what differs here."""

_OF_ITS_CHOICE = {
    ("data", "image_size"): ("train_size",),
    ("optimize", "optimizer"): ("lr", "eps", "weight_decay", "clip_grad_norm", "nesterov"),
    ("optimize", "loss"): ("bce_threshold",),
}
"""What a recipe says of its own image size, optimizer and loss, and not of another one."""
_OF_ONE_CLASS = ("label_smoothing", "bce_threshold")
"""What a recipe says of images with one class each."""


def with_recipe(values: Any) -> Any:
    """The values of a file with those of its `recipe` where it has none of its own.

    The learning rate follows the global batch, and the warm-up is at most a tenth of the epochs.
    """
    recipe = RECIPES.get(str(values.get("recipe"))) if isinstance(values, Mapping) else None
    if recipe is None:
        return values
    own = _block(values, "optimize")
    settings = {block: dict(fields) for block, fields in recipe.settings.items()}
    optimize = settings["optimize"]
    batch, epochs = (own.get(field, optimize[field]) for field in ("global_batch_size", "epochs"))
    if _is_number(batch):
        scale = (batch / optimize["global_batch_size"]) ** recipe.lr_power
        optimize["lr"] = float(f"{recipe.lr * scale:.3g}")
    if _is_number(epochs) and "warmup_epochs" not in optimize:
        optimize["warmup_epochs"] = min(_WARMUP_EPOCHS, epochs * _MOST_WARMUP)
    if "min_lr" in optimize and _is_number(lr := own.get("lr", optimize.get("lr"))):
        optimize["min_lr"] = min(float(optimize["min_lr"]), lr)
    for (block, choice), fields in _OF_ITS_CHOICE.items():
        ours, theirs = _block(settings, block), _block(values, block)
        if theirs.get(choice, ours.get(choice)) != ours.get(choice):
            settings[block] = {field: value for field, value in ours.items() if field not in fields}
    if values.get("task") == "multilabel":
        settings["optimize"] = {
            field: value for field, value in settings["optimize"].items() if field not in _OF_ONE_CLASS
        }
    if not has_drop_path(str(_block(values, "model").get("arch"))):
        _block(settings, "model").pop("drop_path", None)
    return _merged(settings, values)


def sets(recipe: Any, field: Sequence[str | int]) -> bool:
    """Whether a recipe of this name says what stands at a field, such as ("data", "train_size")."""
    found: Any = RECIPES[recipe].settings if isinstance(recipe, str) and recipe in RECIPES else None
    for key in field:
        if not isinstance(found, Mapping) or key not in found:
            return False
        found = found[key]
    return True


def _block(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A block of a file; empty where there is none, or something else."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _merged(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with what `settings` has beyond them, block by block."""
    both = settings.keys() & values.keys()
    inner = {
        key: _merged(settings[key], values[key])
        for key in both
        if isinstance(settings[key], Mapping) and isinstance(values[key], Mapping)
    }
    return {**settings, **values, **inner}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
