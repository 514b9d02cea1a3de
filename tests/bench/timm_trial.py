"""One architecture of timm after another: its Keras twin against torch. The child of `tests.bench.timm_twins`."""

import gc
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import timm
import torch
from timm.layers import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from scenerec.models import torch_drop_path, torch_model, zoo
from scenerec.models.keras_twin.context import UnsupportedOperationError
from tests import parity
from tests.bench import timm_table

import keras  # isort: skip

_SMALL_PX = 64
_BEFORE, _BEHIND = "no Keras equivalent for ", "; to add it"
"""What stands around a cause in the message of an UnsupportedOperationError."""


class RefusedError(Exception):
    """Why an architecture cannot be trained, in words that stand behind "for"."""


def run(names: Sequence[str], most: float) -> None:
    """Prints a line of JSON for each name; what has more than `most` million parameters is not tried."""
    for name in names:
        print(json.dumps({"arch": name, **attempt(name, most)}), flush=True)


def attempt(name: str, most: float) -> dict[str, Any]:
    """What became of an architecture, and the processor's seconds that it took."""
    start, figures = time.process_time(), {}
    try:
        figures["parameters"] = sum(parameter.numel() for parameter in timm_table.outline(name).parameters())
        if figures["parameters"] > most * 1e6:
            return {**figures, "result": "too large", "cause": f"its size: more than {most:g} million parameters"}
        figures |= {"result": "pass", "cause": "", **measure(name)}
    except Exception as error:  # of timm, torch, Keras or TensorFlow: each is a cause
        figures |= {"result": "refused", "cause": words(error)}
    keras.backend.clear_session()
    gc.collect()
    return {**figures, "seconds": round(time.process_time() - start, 1)}


def words(error: Exception) -> str:
    """The error as a cause."""
    message = next(iter(str(error).splitlines()), "")
    if isinstance(error, UnsupportedOperationError):
        return message.removeprefix(_BEFORE).partition(_BEHIND)[0]
    return message if isinstance(error, RefusedError) else f"{type(error).__name__}: {message[:160]}"


def measure(name: str) -> dict[str, Any]:
    """What is known of the architecture, and how far its twin is from torch.

    Raises:
        RefusedError: it has not one linear head, does something else in training, or its twin is too far.
    """
    head = check_head(name)
    entry = timm_table.entry_of(name)
    known = zoo.TimmArchitecture(**asdict(entry), **drops(name), conv_head=isinstance(head, nn.Conv2d))
    try:
        return compare(known)
    except UnsupportedOperationError:
        if entry.image_size_step == 1:
            raise
        size = entry.image_size  # positions that are not interpolated may have a twin
        one_size = {"image_size_step": 1, "fixed_image_size": True, "min_image_size": size, "gflops_224": None}
        return compare(replace(known, **one_size))


def check_head(name: str) -> nn.Module:
    """The classifying layer; refuses what has not one, or one that is not linear."""
    path = timm.get_pretrained_cfg(name).classifier
    if not isinstance(path, str) or not path:
        raise RefusedError(f"{len(path)} classifying layers, where there must be one" if path else "want of a head")
    head = timm_table.outline(name).get_submodule(path)
    if isinstance(head, nn.Linear) or (isinstance(head, nn.Conv2d) and head.kernel_size == (1, 1)):
        return head
    raise RefusedError(f"its classifying layer, which is {type(head).__name__} and not Linear")


def compare(entry: zoo.TimmArchitecture) -> dict[str, Any]:
    """The columns of one that passes."""
    zoo.more_of_timm()[entry.name] = entry  # so that it can be built
    size = probe_px(entry)
    network = parity.make_network(entry.name, size)
    images = parity.draw_batch(size)[0][: parity.LOGITS_BATCH]
    expected = parity.torch_logits(network, images)
    check_torch(network, images, expected)
    figures: dict[str, Any] = {"image_px": size, **asdict(entry)}
    difference = parity.difference(parity.twin_logits(parity.make_twin(network, size), images), expected)
    if not difference <= parity.LOGITS_TOLERANCE:
        keras.backend.clear_session()
        truth = parity.torch_logits(network.double(), images)
        exact = parity.difference(parity.double_twin_logits(entry.name, size, images), truth)
        allowed = parity.ROUNDING_FACTOR * parity.difference(expected, truth)
        if not (difference <= allowed and exact <= parity.EXACT_TOLERANCE):
            raise RefusedError(f"logits that differ by {difference:.1e} of their scale, in float64 by {exact:.1e}")
        figures["exact"] = f"{exact:.1e}"
    return {**figures, "difference": f"{difference:.1e}"}


def drops(name: str) -> dict[str, bool]:
    """Whether something is dropped in training, and whether there are places for stochastic depth."""
    network = timm_table.outline(name)
    torch_model.name_dropout(network)
    modules = list(network.modules())
    rates = [each.p if isinstance(each, nn.Dropout) else each.drop_prob for each in modules if _drops(each)]
    return {"drops": any(rates), "drop_path": any(list(torch_drop_path.places_of(each)) for each in modules)}


def _drops(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout | DropPath)


def probe_px(entry: zoo.Architecture) -> int:
    """A small side that the architecture takes."""
    if entry.fixed_image_size:
        return entry.image_size
    step = entry.image_size_step
    return max(_SMALL_PX, entry.min_image_size) // step * step if step <= _SMALL_PX // 2 else 2 * step


def check_torch(network: nn.Module, images: np.ndarray, expected: np.ndarray) -> None:
    """Refuses what gives no logits, and what does something in training that neither BatchNorm nor dropout explains."""
    if expected.shape != (len(images), parity.CLASSES):
        raise RefusedError(f"its output of shape {expected.shape}, which is no logits")
    if not np.isfinite(expected).all():
        raise RefusedError("logits that are not finite in torch")
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    with torch.no_grad():
        found = network(parity.nchw(images))
    network.eval()
    if not isinstance(found, torch.Tensor) or parity.difference(found.numpy(), expected) > parity.LOGITS_TOLERANCE:
        raise RefusedError("what it does in training alone, where a twin does as in evaluation")
