"""What the serving bench serves and asks: bundles of drawn weights, and JPEG photographs, made once and kept."""

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.synthetic import draw_scene, draw_scenes
from scenerec.data.synthetic_scenes import SCENES
from scenerec.export.exporter import export
from scenerec.export.options import Options
from scenerec.export.source import Stated, open_source
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.models import torch_model

CLASSES = 365
_WIDTH, _HEIGHT = 340, 256
_JPEG_QUALITY = 75
_NOISE = 10.0  # standard deviation in levels, which makes files of 21 KB, as photographs of this size have


def bundle_folder(cache: Path, arch: str) -> Path:
    """A bundle of `arch` at 224 px with drawn weights, exported as any other; takes half a minute the first time."""
    folder = cache / f"{arch}-{CLASSES}"
    if (folder / "bundle.json").exists():
        open_bundle(str(folder))
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        from safetensors.numpy import save_file

        state = torch_model.state(torch_model.build(arch, CLASSES, seed=0))
        weights = Path(made) / f"{arch}.safetensors"
        save_file({key: np.ascontiguousarray(array) for key, array in state.items()}, weights)
        draw_scenes(Path(made) / "scenes", classes=2, train_per_class=1, val_per_class=16, size=256)
        pack(PackRequest(source=Path(made) / "scenes", destination=f"{made}/packed"))
        labels = tuple(f"scene {index}" for index in range(CLASSES))
        source = open_source(str(weights), stated=Stated(name=arch, arch=arch, image_size=224, labels=labels))
        export(source, str(folder), Options(data=f"{made}/packed/val"))
    return folder


def photographs(count: int, folder: Path | None) -> list[bytes]:
    """JPEG files from `folder` and below it, or drawn ones of 21 KB; repeated where there are not enough."""
    if folder is None:
        return [_draw(index) for index in range(count)]
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[:count]
    if not found:
        raise SystemExit(f"{folder}: holds no JPEG files")
    return [found[index % len(found)].read_bytes() for index in range(count)]


def _draw(index: int) -> bytes:
    """A drawn scene with the grain of a camera."""
    generator = np.random.default_rng(index)
    names = tuple(SCENES)
    scene = draw_scene(names[index % len(names)], _WIDTH, generator).crop((0, 0, _WIDTH, _HEIGHT))
    pixels = np.asarray(scene, np.float32) + generator.normal(scale=_NOISE, size=(_HEIGHT, _WIDTH, 1))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
