"""NVIDIA DALI on the CPU: only the crop is decoded, and one kernel does the colours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nvidia.dali import fn, pipeline_def, types

from tests.bench.data_ways import BATCH, SIZE, Work

MEAN = [0.485 * 255, 0.456 * 255, 0.406 * 255]
STD = [0.229 * 255, 0.224 * 255, 0.225 * 255]


def dali(work: Work) -> Iterator[int]:
    """The pipeline of its documentation for ImageNet, with antialiasing as all others."""
    files = [str(file) for file in sorted(Path(work.folder, "images").rglob("*.jpg"))]
    pipeline = _pipeline(files, work.jitter, batch_size=BATCH, num_threads=work.cores, device_id=None, seed=work.seed)
    pipeline.build()
    for _ in range(len(files) // BATCH):
        (images,) = pipeline.run()
        yield len(images)


@pipeline_def  # type: ignore[untyped-decorator]
def _pipeline(files: list[str], jitter: float) -> Any:
    encoded, _ = fn.readers.file(files=files, random_shuffle=True)
    images = fn.decoders.image_random_crop(
        encoded, device="cpu", output_type=types.RGB, random_aspect_ratio=[3 / 4, 4 / 3], random_area=[0.08, 1.0]
    )
    images = fn.resize(images, resize_x=SIZE, resize_y=SIZE, interp_type=types.INTERP_LINEAR, antialias=True)
    mirror = fn.random.coin_flip()
    if not jitter:
        return fn.flip(images, horizontal=mirror)
    brightness, contrast, saturation = (fn.random.uniform(range=[1 - jitter, 1 + jitter]) for _ in range(3))
    images = fn.color_twist(images, brightness=brightness, contrast=contrast, saturation=saturation)
    return fn.crop_mirror_normalize(images, mirror=mirror, mean=MEAN, std=STD, dtype=types.FLOAT, output_layout="HWC")
