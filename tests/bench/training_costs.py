"""What a core takes to learn from an image, by architecture and size: the table by which `scenerec train` chooses.

Also how much memory an image's activations take until the backward pass. Three minutes; writes costs.csv anew.
"""

import csv
import dataclasses

import torch

from scenerec.models.torch_model import build
from scenerec.training.choice.costs import TABLE, Cost
from scenerec.training.choice.torch_speed import core_seconds

ARCHITECTURES = ("mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet50")
SIZES_PX = (64, 128, 224)


def main() -> None:
    """Measures all, one after another, and writes the table."""
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Cost)], lineterminator="\n")
        writer.writeheader()
        for arch in ARCHITECTURES:
            for image_size in SIZES_PX:
                core_ms = 1000 * core_seconds(arch, image_size)
                row = Cost(arch, image_size, round(core_ms, 1), round(held_mb(arch, image_size), 1))
                writer.writerow(dataclasses.asdict(row))
                file.flush()
                print(row, flush=True)


def held_mb(arch: str, image_size: int) -> float:
    """Megabytes that are held of an image for its backward pass, of two images' difference to one."""

    def held(images: int) -> int:
        tensors: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            tensors[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        model = build(arch, 12, seed=0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.rand(images, 3, image_size, image_size)).sum()
        return sum(tensors.values())

    return (held(4) - held(2)) / 2e6


if __name__ == "__main__":
    main()
