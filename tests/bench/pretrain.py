"""What pretraining is worth: features of photographs whose labels nobody has read, judged by a tenth of their labels.

Of one backbone: at random, and after as many epochs over the same images by each method in both frameworks and by
lightly's SimCLR with the same settings. All are judged alike: features in torch of the images as evaluation sees them,
with BatchNorm's statistics of the training images; a linear classifier on a tenth of each class's training images, the
mean over many draws of that tenth; and the nearest neighbours among all of them. A row of pretrain.csv each.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scenerec.config.pretrain import PretrainConfig
from scenerec.data.packed_set import open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.torch_input import normalize, validation_input
from scenerec.models import torch_encoder, torch_model
from scenerec.training.embeddings import effective_rank, embedding_std, knn_accuracy, linear_probe_accuracy
from scenerec.training.initial import initial_backbone
from scenerec.training.probe import Features, joined
from scenerec.world import World
from tests.bench.peers import UnavailableError, make_environment
from tests.bench.record import append_row
from tests.local_run import train_here

ARCH = "resnet18"
LABEL_SHARE = 0.1
DRAWS = 20
WEIGHT_DECAY = 1e-4
TEMPERATURE = 0.2
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"temperature": TEMPERATURE},
    "mocov2": {"temperature": TEMPERATURE, "momentum": 0.99},  # and a queue of an epoch
    "mocov3": {"temperature": TEMPERATURE, "projector_width": 512, "predictor_width": 512, "momentum": 0.99},
}
"""With their settings for few images: the published ones are for a million."""
PEER = Path(__file__).parent / "pretrain_peers" / "lightly.txt"


def main() -> None:
    """Prints and appends a row for each subject and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="ImageFolder with train/ and val/")
    subjects = ["random", "lightly", *_ours()]
    parser.add_argument("--subjects", nargs="+", default=subjects, choices=subjects)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.06)
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "scenerec" / "bench-peers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as home:
        folder = Path(home)
        pack(PackRequest(source=options.photographs, destination=str(folder / "packed"), options=PackOptions()))
        for seed in options.seeds:
            for subject in options.subjects:
                config, began_s = _config(subject, seed, folder, options), time.monotonic()
                try:
                    weights = _train(subject, config, folder, options)
                except UnavailableError as error:
                    print(f"{subject}: not measured: {error}", flush=True)
                    continue
                minutes = (time.monotonic() - began_s) / 60
                figures = {
                    **{"subject": subject, "arch": ARCH, "seed": seed, "epochs": options.epochs},
                    **{"image_size": options.image_size, "batch_size": options.batch_size, "lr": options.lr},
                    **_judged(config, weights, folder),
                    "minutes": round(minutes, 1),
                }
                append_row("pretrain", figures)
                print(json.dumps(figures), flush=True)


def _ours() -> list[str]:
    return [f"{method} {framework}" for method in METHODS for framework in ("torch", "tensorflow")]


def _config(subject: str, seed: int, folder: Path, options: argparse.Namespace) -> PretrainConfig:
    """The run of a subject; of those that are not ours, what a SimCLR in torch would have."""
    method, framework = subject.split() if subject in _ours() else ("simclr", "torch")
    settings = dict(METHODS[method])
    if method == "mocov2":
        images = open_set(str(folder / "packed" / "train")).manifest.samples
        settings["queue"] = images // options.batch_size * options.batch_size
    optimize = {
        **{"epochs": options.epochs, "global_batch_size": options.batch_size, "lr": options.lr, "seed": seed},
        **{"optimizer": "sgd", "weight_decay": WEIGHT_DECAY, "warmup_epochs": options.epochs / 10},
    }
    return PretrainConfig.model_validate(
        {
            **{"kind": "pretrain", "name": subject.replace(" ", "-") + f"-{seed}", "framework": framework},
            **{"data": {"train": f"{folder}/packed/train", "image_size": options.image_size}},
            **{"model": {"arch": ARCH}, "pretrain": {"method": method, **settings}, "optimize": optimize},
            **{"scale": {"cpus_per_worker": os.cpu_count()}, "output": f"{folder}/runs"},
        }
    )


def _train(subject: str, config: PretrainConfig, folder: Path, options: argparse.Namespace) -> str:
    """Where the weights are that the subject has learned. Raises UnavailableError."""
    if subject == "random":
        return "none"
    if subject == "lightly":
        return _lightly(config, folder, options)
    train_here(config)
    return config.run_url


def _lightly(config: PretrainConfig, folder: Path, options: argparse.Namespace) -> str:
    python = make_environment(options.peers / PEER.stem, PEER, borrows=True) / "python"
    optimize, backbone = config.optimize, folder / f"lightly-{config.optimize.seed}.pth"
    job = {
        **{"images": str(options.photographs / "train"), "backbone": str(backbone), "arch": ARCH},
        **{"image_size": config.data.image_size, "batch_size": optimize.global_batch_size, "epochs": optimize.epochs},
        **{"lr": optimize.lr, "weight_decay": optimize.weight_decay, "warmup_epochs": optimize.warmup_epochs},
        **{"temperature": config.pretrain.temperature, "seed": optimize.seed, "threads": os.cpu_count()},
    }
    command = [str(python), "-m", "tests.bench.pretrain_peers.lightly_simclr"]
    subprocess.run(command, input=json.dumps(job), text=True, check=True)
    return str(backbone)


def _judged(config: PretrainConfig, weights: str, folder: Path) -> dict[str, object]:
    """What the features are worth."""
    config = config.model_copy(update={"model": config.model.model_copy(update={"weights": weights})})
    network = torch_encoder.build(ARCH, lambda features: {}, config.optimize.seed)
    torch_model.load_state(network, initial_backbone(config, torch_model.state(network)))
    _take_statistics(network, config, folder)
    known, asked = (_features(network, config, f"{folder}/packed/{split}") for split in ("train", "val"))
    probe = [_probe(known, asked, draw) for draw in range(DRAWS)]
    return {
        "label_share": LABEL_SHARE,
        "linear_top1": round(float(np.mean(probe)), 4),
        "knn_top1": round(knn_accuracy(known.rows, known.labels, asked.rows, asked.labels, neighbors=20), 4),
        "feature_std": round(embedding_std(known.rows), 5),
        "effective_rank": round(effective_rank(known.rows), 1),
    }


def _probe(known: Features, asked: Features, draw: int) -> float:
    rng = np.random.default_rng(draw)
    of_class = [rng.permutation(np.flatnonzero(known.labels == label)) for label in np.unique(known.labels)]
    some = np.concatenate([places[: max(round(LABEL_SHARE * len(places)), 1)] for places in of_class])
    return linear_probe_accuracy(known.rows[some], known.labels[some], asked.rows, asked.labels)


def _take_statistics(network: nn.Module, config: PretrainConfig, folder: Path) -> None:
    """Gives BatchNorm the mean statistics of the training images as evaluation sees them."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # type: ignore[assignment]  # a mean over all batches
    _features(network.train(), config, f"{folder}/packed/train")
    network.eval()


@torch.no_grad()
def _features(network: nn.Module, config: PretrainConfig, packed: str) -> Features:
    see = partial(torch_encoder.embed, network)
    batches = validation_input(open_set(packed), config.data, World(), batch_size=64, threads=1)
    return joined((see(normalize(batch.images))[0].numpy(), batch.labels.numpy()) for batch in batches)


if __name__ == "__main__":
    main()
