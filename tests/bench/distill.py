"""What a student gains by a teacher: the same student, seeds, batches and epochs with one and without.

A ResNet-18 teaches a MobileNetV3-small. A row of distill.csv for each seed holds the top-1 of the last epoch of both,
on the same validation images. What is done lies in `--folder`, and is not done again: stopped at any time, it goes on
from the newest checkpoint.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenerec.config.train import TrainConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from scenerec.training import tf_learner, torch_learner
from scenerec.training.run_folder import RunFolder
from tests.bench.record import put_row
from tests.local_run import train_here

TEACHER = "resnet18"
STUDENT = "mobilenet_v3_small"
SEEDS = (0, 1, 2)
DISTILL = {"temperature": 4, "weight": 0.9}


def main() -> None:
    """Trains the teacher, then both students of each seed; prints and records a row a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="?", help="ImageFolder with train/ and val/; drawn without it")
    parser.add_argument("--teacher", help="a run of the same classes, instead of one that is trained here")
    parser.add_argument("--framework", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--folder", type=Path, default=Path("build/distill"), help="where the runs are kept")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    (torch_learner if options.framework == "torch" else tf_learner).use_threads(options.cores)
    bench = Bench(options.folder.absolute(), options.framework, options.image_size, options.epochs)
    _pack(options.photographs, bench.folder)
    teacher = bench.config("teacher", TEACHER, seed=100)
    if options.teacher is None:
        print(f"{TEACHER}, the teacher: top-1 {_top1(teacher):.1%}", flush=True)
    for seed in SEEDS:
        bench.compare(seed, options.teacher or teacher.run_url)


@dataclass(frozen=True)
class Bench:
    """What the teacher and all students have in common."""

    folder: Path
    framework: str
    image_size: int
    epochs: int

    @property
    def name(self) -> str:
        """Of all runs, and of the rows."""
        return f"{self.framework}, {self.image_size} px, {self.epochs} epochs"

    def compare(self, seed: int, teacher: str) -> None:
        """Trains a seed's student without the teacher and with it."""
        plain = _top1(self.config(f"{seed}-plain", STUDENT, seed))
        distilled = _top1(self.config(f"{seed}-distilled", STUDENT, seed, distill={"teacher": teacher, **DISTILL}))
        figures: dict[str, object] = {
            "case": f"{STUDENT}, {self.name}, seed {seed}",
            "plain_top1": round(plain, 4),
            "distilled_top1": round(distilled, 4),
            "difference": round(distilled - plain, 4),
        }
        put_row("distill", "case", figures)
        gain = distilled - plain
        print(f"seed {seed}: top-1 {plain:.1%} without, {distilled:.1%} with the teacher: {gain:+.1%}", flush=True)

    def config(self, name: str, arch: str, seed: int, **optimize: Any) -> TrainConfig:
        """The training job of one network."""
        document = {
            "kind": "train",
            "name": f"{self.framework}-{self.image_size}px-{self.epochs}-{name}",
            "framework": self.framework,
            "data": {
                "train": f"{self.folder}/packed/train",
                "val": f"{self.folder}/packed/val",
                "image_size": self.image_size,
                "augment": {"crop_scale": [0.35, 1.0]},
            },
            "model": {"arch": arch},
            "optimize": {
                "epochs": self.epochs,
                "global_batch_size": 32,
                "optimizer": "adamw",
                "lr": 0.002,
                "weight_decay": 0.05,
                "warmup_epochs": 1,
                "seed": seed,
                **optimize,
            },
            "output": f"{self.folder}/runs",
        }
        return TrainConfig.model_validate(document)


def _top1(config: TrainConfig) -> float:
    """Of the last epoch of a run, which is trained to its end unless it is there."""
    result = RunFolder(config.run_url).read_result() or train_here(config)
    return float(result["last"]["val_top1"])


def _pack(photographs: Path | None, folder: Path) -> None:
    if (folder / "packed" / "val" / "manifest.json").exists():
        return
    if photographs is None:
        photographs = folder / "drawn"
        draw_scenes(photographs, classes=8, train_per_class=100, val_per_class=40, size=96, seed=0)
    pack(PackRequest(source=photographs, destination=f"{folder}/packed", options=PackOptions()))


if __name__ == "__main__":
    main()
