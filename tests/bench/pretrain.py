"""What pretraining is worth: features of photographs whose labels nobody has read, judged by a tenth of their labels.

Of one backbone: at random, and after as many epochs over the same images by each method in both frameworks and by
lightly's SimCLR with the same settings and views, from first weights of its own and from ours (`lightly-our-start`), so
that runs can be compared seed by seed. All are judged alike, as they are after the last epoch: features in
torch of the images as evaluation sees them, with BatchNorm's statistics of the training images; a linear classifier on
a tenth of each class's training images, the mean over many draws of that tenth; and the nearest neighbours among all of
them. What differs between lightly's program and ours is told in docs/pretraining.md. A row of pretrain.csv for each
subject and seed, and at the end each subject's mean and range. What is done lies in `--folder`, and is not done again:
stopped at any time, it goes on from the newest checkpoint.
"""

import argparse
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
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
from scenerec.training import tf_learner, torch_learner
from scenerec.training.embeddings import effective_rank, embedding_std, knn_accuracy, linear_probe_accuracy
from scenerec.training.initial import initial_backbone
from scenerec.training.probe import Features, joined
from scenerec.training.run_folder import RunFolder
from scenerec.world import World
from tests.bench.peers import UnavailableError, make_environment
from tests.bench.record import put_row, read_rows
from tests.local_run import train_here

LABEL_SHARE = 0.1
DRAWS = 20
NEIGHBORS = 20
WEIGHT_DECAY = 1e-4
TEMPERATURE = 0.2
VIEW = {"crop_scale": [0.2, 1.0], "color_jitter": 0.4, "hue": 0.1, "color_share": 0.8, "gray": 0.2, "blur": 0.5}
"""Of all methods: half of SimCLR's changes of the colours, and no crops below a fifth."""
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"temperature": TEMPERATURE},
    "simclr-each-view": {"method": "simclr", "temperature": TEMPERATURE, "batchnorm": "each_view"},  # as lightly's
    "mocov2": {"temperature": TEMPERATURE, "momentum": 0.98},  # and a queue of an epoch
    "mocov3": {"temperature": TEMPERATURE, "projector_width": 512, "predictor_width": 512, "momentum": 0.95},
}
"""With their settings for few images and some hundred steps: the published ones are for a million images.

A method that is here in two ways has a name of ours for the second, and says its own.
"""
PEER = Path(__file__).parent / "pretrain_peers" / "lightly.txt"
OURS = [f"{method} {framework}" for method in METHODS for framework in ("torch", "tensorflow")]
OUR_START = "lightly-our-start"
SUBJECTS = ["random", "lightly", OUR_START, *OURS]


def main() -> None:
    """Learns and judges, seed by seed; prints and records a row for each subject, and at the end what they come to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="ImageFolder with train/ and val/")
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS, choices=SUBJECTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arch", default="resnet18", help="of torchvision, with its classifier in `fc`")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--published-views", action="store_true", help="each method's own, instead of milder ones")
    parser.add_argument("--folder", type=Path, default=Path("build/pretrain"), help="where the runs are kept")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "scenerec" / "bench-peers")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    torch_learner.use_threads(options.cores)
    tf_learner.use_threads(options.cores)
    bench = Bench(options, options.folder.absolute())
    if not (bench.packed / "val" / "manifest.json").exists():
        pack(PackRequest(source=options.photographs, destination=str(bench.packed), options=PackOptions()))
    for seed in options.seeds:
        for subject in options.subjects:
            bench.measure(subject, seed)
    for subject in options.subjects:
        print(bench.summary(subject), flush=True)


@dataclass(frozen=True)
class Bench:
    """What all subjects have in common."""

    options: argparse.Namespace
    folder: Path

    @property
    def packed(self) -> Path:
        """Where the photographs are, packed."""
        return self.folder / "packed"

    @property
    def settings(self) -> str:
        """Of all rows."""
        o = self.options
        views = ", published views" if o.published_views else ""
        return f"{o.arch}, {o.image_size} px, {o.epochs} epochs of batches of {o.batch_size}, lr {o.lr:g}{views}"

    def measure(self, subject: str, seed: int) -> None:
        """Prints and records a row, unless it is there."""
        case = f"{subject}, {self.settings}, seed {seed}"
        if case in (row["case"] for row in read_rows("pretrain")):
            return
        config = self._config(subject, seed)
        try:
            weights = self._learned(subject, config)
        except UnavailableError as error:
            print(f"{subject}: not measured: {error}", flush=True)
            return
        figures = {"case": case, "subject": subject, "settings": self.settings, **self._judged(config, weights)}
        put_row("pretrain", "case", figures)
        print(json.dumps(figures), flush=True)

    def summary(self, subject: str) -> str:
        """A subject's mean and range over all seeds that were recorded."""
        rows = [row for row in read_rows("pretrain") if (row["subject"], row["settings"]) == (subject, self.settings)]
        figures = [f"{name} {_spread([float(row[name]) for row in rows])}" for name in ("linear_top1", "knn_top1")]
        return f"{subject}: {', '.join(figures)} ({len(rows)} seeds)" if rows else f"{subject}: not measured"

    def _config(self, subject: str, seed: int) -> PretrainConfig:
        """The run of a subject; of those that are not ours, what a SimCLR in torch would have."""
        options = self.options
        method, framework = subject.split() if subject in OURS else ("simclr", "torch")
        settings = dict(METHODS[method])
        if method == "mocov2":
            images = open_set(str(self.packed / "train")).manifest.samples
            settings["queue"] = images // options.batch_size * options.batch_size
        shape = f"{options.arch}-{options.image_size}px-{options.epochs}x{options.batch_size}-{options.lr:g}"
        name = f"{subject}-{shape}{'-published' if options.published_views else ''}-{seed}".replace(" ", "-")
        optimize = {
            **{"epochs": options.epochs, "global_batch_size": options.batch_size, "lr": options.lr, "seed": seed},
            **{"optimizer": "adamw", "weight_decay": WEIGHT_DECAY, "warmup_epochs": options.epochs / 10},
        }
        return PretrainConfig.model_validate(
            {
                **{"kind": "pretrain", "name": name, "framework": framework},
                **{"data": {"train": f"{self.packed}/train", "image_size": options.image_size}},
                **{"model": {"arch": options.arch}, "pretrain": {"method": method, **settings}, "optimize": optimize},
                **{"views": {} if options.published_views else {"first": VIEW, "second": VIEW}},
                **{"scale": {"cpus_per_worker": options.cores}, "output": f"{self.folder}/runs"},
            }
        )

    def _learned(self, subject: str, config: PretrainConfig) -> str:
        """Where the weights are that the subject has after its last epoch. Raises UnavailableError."""
        if subject == "random":
            return "none"
        if subject not in OURS:
            return self._lightly(config, is_our_start=subject == OUR_START)
        result = RunFolder(config.run_url).read_result() or train_here(config)
        return str(result["last_checkpoint"])

    def _lightly(self, config: PretrainConfig, is_our_start: bool) -> str:
        options, optimize, backbone = self.options, config.optimize, self.folder / f"{config.name}.pth"
        if backbone.exists():
            return str(backbone)
        first_weights = ""
        if is_our_start:
            first_weights = str(backbone.with_suffix(".first.pth"))
            torch.save(_first_network(config).state_dict(), first_weights)
        python = make_environment(options.peers / PEER.stem, PEER, borrows=True) / "python"
        view = config.views.first
        job = {
            **{"images": str(options.photographs / "train"), "backbone": str(backbone), "arch": options.arch},
            **{"image_size": options.image_size, "batch_size": options.batch_size, "epochs": options.epochs},
            **{"lr": optimize.lr, "weight_decay": optimize.weight_decay, "warmup_epochs": optimize.warmup_epochs},
            **{"temperature": config.pretrain.temperature, "seed": optimize.seed, "threads": options.cores},
            **{"smallest_crop": view.crop_scale[0], "color_jitter": view.color_jitter, "hue": view.hue},
            "first_weights": first_weights,
        }
        command = [str(python), "-m", "tests.bench.pretrain_peers.lightly_simclr"]
        subprocess.run(command, input=json.dumps(job), text=True, check=True)
        return str(backbone)

    def _judged(self, config: PretrainConfig, weights: str) -> dict[str, object]:
        """What the features are worth."""
        config = config.model_copy(update={"model": config.model.model_copy(update={"weights": weights})})
        network = _first_network(config)
        torch_model.load_state(network, initial_backbone(config, torch_model.state(network)))
        _take_statistics(network, config, f"{self.packed}/train")
        known, asked = (_features(network, config, f"{self.packed}/{split}") for split in ("train", "val"))
        probes = [_probe(known, asked, draw) for draw in range(DRAWS)]
        return {
            "label_share": LABEL_SHARE,
            "linear_top1": round(float(np.mean(probes)), 4),
            "knn_top1": round(knn_accuracy(known.rows, known.labels, asked.rows, asked.labels, NEIGHBORS), 4),
            "feature_std": round(embedding_std(known.rows), 5),
            "effective_rank": round(effective_rank(known.rows), 1),
        }


def _first_network(config: PretrainConfig) -> nn.Module:
    """The backbone alone, with the weights that a run of the seed begins with."""
    return torch_encoder.build(config.model.arch, lambda features: {}, config.optimize.seed)


def _spread(shares: Sequence[float]) -> str:
    return f"{np.mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"


def _probe(known: Features, asked: Features, draw: int) -> float:
    rng = np.random.default_rng(draw)
    of_class = [rng.permutation(np.flatnonzero(known.labels == label)) for label in np.unique(known.labels)]
    some = np.concatenate([places[: max(round(LABEL_SHARE * len(places)), 1)] for places in of_class])
    return linear_probe_accuracy(known.rows[some], known.labels[some], asked.rows, asked.labels)


def _take_statistics(network: nn.Module, config: PretrainConfig, packed: str) -> None:
    """Gives BatchNorm the mean statistics of the training images as evaluation sees them."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # type: ignore[assignment]  # a mean over all batches
    _features(network.train(), config, packed)
    network.eval()


@torch.no_grad()
def _features(network: nn.Module, config: PretrainConfig, packed: str) -> Features:
    see = partial(torch_encoder.embed, network)
    batches = validation_input(open_set(packed), config.data, World(), batch_size=64, threads=1)
    return joined((see(normalize(batch.images))[0].numpy(), batch.labels.numpy()) for batch in batches)


if __name__ == "__main__":
    main()
