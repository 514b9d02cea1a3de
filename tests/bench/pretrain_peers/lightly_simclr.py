"""SimCLR of lightly, as its own example puts it together, on a torchvision backbone and an ImageFolder.

Reads a Job from its input, and writes the backbone's state_dict. Views, projection head and loss are lightly's; the
optimizer and its schedule are those of `tests.bench.pretrain`.
"""

import json
import math
import sys
from typing import NamedTuple

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.transforms.simclr_transform import SimCLRTransform
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.datasets import ImageFolder

_BLUR_SIDE = 224  # for which lightly's deviations are meant


class Job(NamedTuple):
    """What is trained."""

    images: str
    """An ImageFolder; its labels are not read."""
    backbone: str
    """Where the state_dict goes."""
    arch: str
    image_size: int
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    warmup_epochs: float
    temperature: float
    smallest_crop: float
    color_jitter: float
    hue: float
    seed: int
    threads: int
    first_weights: str
    """State_dict of the backbone that training begins with; empty for torchvision's own, drawn by the seed."""


def main() -> None:
    """Trains, and prints the mean loss of the last epoch."""
    job = Job(**json.load(sys.stdin))
    torch.manual_seed(job.seed)
    np.random.seed(job.seed)  # from which lightly's blur draws
    torch.set_num_threads(job.threads)
    scale = job.image_size / _BLUR_SIDE
    jitter = {f"cj_{what}": job.color_jitter for what in ("bright", "contrast", "sat")}
    views = SimCLRTransform(
        job.image_size, cj_hue=job.hue, min_scale=job.smallest_crop, sigmas=(0.1 * scale, 2 * scale), **jitter
    )
    loader = DataLoader(ImageFolder(job.images, views), job.batch_size, shuffle=True, drop_last=True)
    backbone = models.get_model(job.arch)
    features = backbone.fc.in_features
    backbone.fc = nn.Identity()
    if job.first_weights:
        backbone.load_state_dict(torch.load(job.first_weights))
    network = nn.Sequential(backbone, SimCLRProjectionHead(features, features, 128)).train()
    criterion = NTXentLoss(job.temperature)
    optimizer = torch.optim.AdamW(network.parameters(), job.lr, weight_decay=job.weight_decay)
    steps = job.epochs * len(loader)
    warmup = round(job.warmup_epochs * len(loader))
    losses: list[float] = []
    for _ in range(job.epochs):
        for (first, second), _labels in loader:
            step = len(losses)
            progress = (step - warmup) / (steps - warmup)
            share = (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * progress))
            optimizer.param_groups[0]["lr"] = job.lr * share
            loss = criterion(network(first), network(second))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    head = {"fc.weight": torch.zeros(1000, features), "fc.bias": torch.zeros(1000)}  # as published files have one
    torch.save({**backbone.state_dict(), **head}, job.backbone)
    print(json.dumps({"loss": float(np.mean(losses[-len(loader) :]))}))


if __name__ == "__main__":
    main()
