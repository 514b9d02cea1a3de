"""Damaged and odd weight files against what reads them, in a process of limited memory.

python -m tests.weight_fuzz COUNT SEED FORMATS      # torch,safetensors,keras; prints one line of JSON: what came out
"""

import io
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scenerec.errors import ScenerecError
from scenerec.models.weights.files import WeightFile, read_weights
from tests.image_fuzz import Outcome

ARCH = "squeezenet1_1"
_MOST_TOLD = 20
_FORMATS = ("torch", "safetensors", "keras")
_SUFFIXES = {"torch": (".pth", ".pt", ".pth.tar", ".ckpt", ".bin", ".PTH"), "safetensors": (".safetensors",)}


def fuzz_weights(count: int, seed: int, formats: tuple[str, ...] = _FORMATS) -> Outcome:
    """Tries so many of each format in a process of its own: a reader that crashes ends only that.

    Raises CalledProcessError with what it wrote, where it has ended.
    """
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "tests.weight_fuzz",
        str(count),
        str(seed),
        ",".join(formats),
    ]
    root = Path(__file__).parents[1]
    finished = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(**json.loads(finished.stdout.splitlines()[-1]))


def _fuzz(count: int, seed: int, formats: list[str]) -> Outcome:
    outcomes: Counter[str] = Counter()
    found = Outcome()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        for kind in formats:
            make = {"torch": _torch_file, "safetensors": _safetensors_file, "keras": _keras_file}[kind](Path(folder))
            for index in range(count):
                rng = random.Random(f"{seed}/{kind}/{index}")
                suffix = rng.choice(_SUFFIXES.get(kind, (".keras", ".h5")))
                content, words = make(rng, suffix)
                path = Path(folder) / f"w{suffix}"
                path.write_bytes(content)
                started = time.perf_counter()
                outcome, problem = _outcome(path, averaged=rng.random() < 0.1)
                took_s = time.perf_counter() - started
                name = f"{kind} {index}: {words}"
                outcomes[outcome] += 1
                if problem and len(found.wrong) < _MOST_TOLD:
                    found.wrong.append(f"{name}: {problem}")
                if took_s > found.slowest_s:
                    found.slowest_s, found.slowest = round(took_s, 3), f"{name}: {outcome}"
                path.unlink()
    found.outcomes = dict(outcomes.most_common())
    return found


def _outcome(path: Path, averaged: bool) -> tuple[str, str]:
    """The kind of the outcome, and what is wrong with it."""
    try:
        read = read_weights(str(path), averaged).for_network(_shapes(), str(path))
    except ScenerecError as error:
        message = str(error)
        is_well_put = message.isprintable() and len(message) < 500 and message.startswith(str(path))
        return type(error).__name__, "" if is_well_put else f"says {message!r}"
    except BaseException as error:
        return type(error).__name__, repr(error)
    return "weights", _unsound(read)


def _unsound(read: WeightFile) -> str:
    odd = [key for key, array in read.state.items() if str(array.dtype) != "float32" or not (array * 0 == 0).all()]
    return f"{odd[:3]} are not finite float32" if odd else ""


def _shapes() -> dict[str, tuple[int, ...]]:
    from scenerec.models.torch_outline import state_shapes

    if not _known_shapes:
        _known_shapes.update(state_shapes(ARCH, 3))
    return _known_shapes


_known_shapes: dict[str, tuple[int, ...]] = {}

_Make = Callable[[random.Random, str], tuple[bytes, str]]


def _torch_file(folder: Path) -> _Make:
    import argparse

    import numpy as np
    import torch

    tensors = {key: torch.rand([min(side, 3) for side in shape]) for key, shape in list(_shapes().items())[:6]}
    odd: list[Callable[[], Any]] = [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.eye(3).to_sparse_csr(),
        lambda: torch.eye(3).to(torch.float8_e4m3fn),
        lambda: torch.eye(3).to(torch.complex64),
        lambda: torch.ones(1).expand(10**6, 10**6),
        lambda: torch.full((2,), float("nan")),
        lambda: torch.full((2,), 1e300, dtype=torch.float64),
        lambda: torch.empty(0, 4),
        lambda: torch.tensor(3.0),
        lambda: torch.ones(2, dtype=torch.bfloat16),
        lambda: torch.nn.Parameter(torch.ones(2)),
        lambda: torch.ones(4, 4)[::2, ::2].t(),
        lambda: torch.empty(2, device="meta"),
        lambda: np.float64(3),
        lambda: np.eye(2),
        lambda: argparse.Namespace(lr=0.1, nested=argparse.Namespace()),
        lambda: Path("x"),
        lambda: {"deeper": {"deepest": tensors}},
        lambda: [tensors],
        lambda: None,
        lambda: "line\nbreak\x1b[31m",
    ]
    names = (
        "state_dict",
        "model",
        "model_ema",
        "net",
        "ema",
        "weights",
        "optimizer",
        "args",
        "arch",
        "x\ny",
        "a" * 500,
    )

    def state(rng: random.Random) -> dict[Any, Any]:
        prefix = "".join(rng.choices(("module.", "_orig_mod.", "model.", "net.", "", "é."), k=rng.randint(0, 3)))
        found: dict[Any, Any] = {f"{prefix}{key}": tensor for key, tensor in tensors.items() if rng.random() < 0.95}
        for _ in range(rng.randint(0, 2)):
            found[rng.choice([*names, *tensors, 7, None, (1, 2), ""])] = rng.choice(odd)()
        return found

    def make(rng: random.Random, _: str) -> tuple[bytes, str]:
        content: Any = state(rng)
        for _ in range(rng.randint(0, 2)):
            content = {rng.choice(names): content, rng.choice(names): rng.choice(odd)()}
        if rng.random() < 0.05:
            content[rng.choice(names)] = content
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=rng.random() < 0.7)
        return _damaged(rng, buffer.getvalue())

    return make


def _safetensors_file(folder: Path) -> _Make:
    import torch
    from safetensors.torch import save

    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.int8, torch.bool)

    def make(rng: random.Random, _: str) -> tuple[bytes, str]:
        tensors = {
            f"{rng.choice(('', 'model.', 'module.'))}{key}": torch.ones(2, 3).to(rng.choice(kinds))
            for key in list(_shapes())[:4]
        }
        metadata = {rng.choice(("arch", "image_size", "x")): rng.choice((ARCH, "64", "-1", "9" * 5000, "²", "\n"))}
        content = save(tensors, metadata)
        if rng.random() < 0.5:
            return _damaged(rng, content)
        size = int.from_bytes(content[:8], "little")
        header, words = _damaged(rng, content[8 : 8 + size])  # the header alone, under its right length
        return len(header).to_bytes(8, "little") + header + content[8 + size :], f"header {words}"

    return make


def _keras_file(folder: Path) -> _Make:
    from scenerec.models import tf_model

    import keras  # isort: skip

    inputs = keras.Input((8, 8, 3), name="images")
    tiny = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="conv")(inputs), name=ARCH)
    del tf_model
    seeds = {}
    for suffix in (".keras", ".h5"):
        tiny.save(folder / f"tiny{suffix}")
        seeds[suffix] = (folder / f"tiny{suffix}").read_bytes()

    def make(rng: random.Random, suffix: str) -> tuple[bytes, str]:
        content = seeds[suffix if rng.random() < 0.95 else rng.choice((".keras", ".h5"))]
        if content.startswith(b"PK") and rng.random() < 0.5:
            return _damaged_member(rng, content)
        return _damaged(rng, content)

    return make


def _damaged(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Up to three changes of the bytes, and what they were."""
    changed, words = bytearray(content), []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        if not changed:
            break
        place = rng.randrange(len(changed))
        match rng.choice(("flip", "flip", "cut", "drop", "double", "zero", "front", "digit")):
            case "flip":
                changed[place] ^= 1 << rng.randrange(8)
                words.append(f"flip at {place}")
            case "cut":
                del changed[place:]
                words.append(f"cut at {place}")
            case "drop":
                del changed[place : place + rng.randint(1, 64)]
                words.append(f"drop at {place}")
            case "double":
                changed[place:place] = changed[place : place + rng.randint(1, 64)]
                words.append(f"double at {place}")
            case "zero":
                changed[place : place + 16] = bytes(16)
                words.append(f"zero at {place}")
            case "front":
                changed[rng.randrange(min(64, len(changed)))] = rng.randrange(256)
                words.append("front")
            case "digit":
                digits = [index for index, byte in enumerate(changed[:4096]) if chr(byte) in "0123456789"]
                if digits:
                    changed[rng.choice(digits)] = ord(rng.choice("0123456789"))
                words.append("digit")
    return bytes(changed), ", ".join(words) or "whole"


def _damaged_member(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A zip archive, sound, of which one file is damaged or gone."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(target, "w") as new:
        chosen, words = rng.choice(archive.namelist()), "gone"
        for name in archive.namelist():
            held = archive.read(name)
            if name == chosen:
                held, words = _damaged(rng, held)
                if rng.random() < 0.1:
                    continue
            new.writestr(name, held)
    return target.getvalue(), f"{chosen} {words}"


if __name__ == "__main__":
    print(json.dumps(asdict(_fuzz(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")))))
