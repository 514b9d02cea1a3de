"""What a student gains by a teacher: the same student, seeds, batches and epochs with one and without.

A ResNet-18 teaches a MobileNetV3-small on photographs of 64 px. A row of distill.csv for each seed holds the top-1 of
the last epoch of both, on the same validation images. What is done lies in `--folder`, and is not done again: stopped
at any time, it goes on from the newest checkpoint.
"""

import argparse
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
EPOCHS = 12
SEEDS = (0, 1, 2)
DISTILL = {"temperature": 4, "weight": 0.9}


def main() -> None:
    """Trains the teacher, then both students of each seed; prints and records a row a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="?", help="ImageFolder with train/ and val/; drawn without it")
    parser.add_argument("--teacher", help="a run of the same classes, instead of one that is trained here")
    parser.add_argument("--framework", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--folder", type=Path, default=Path("build/distill"), help="where the runs are kept")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    (torch_learner if options.framework == "torch" else tf_learner).use_threads(options.cores)
    folder = options.folder.absolute()
    _pack(options.photographs, folder)
    teacher = options.teacher or f"{folder}/runs/teacher"
    if options.teacher is None:
        taught_by = _top1(_config(folder, options.framework, "teacher", TEACHER, seed=100))
        print(f"{TEACHER}, the teacher: top-1 {taught_by:.1%}", flush=True)
    for seed in SEEDS:
        _compare(folder, options.framework, teacher, seed)


def _compare(folder: Path, framework: str, teacher: str, seed: int) -> None:
    name = f"{framework}-{seed}"
    plain = _top1(_config(folder, framework, f"{name}-plain", STUDENT, seed))
    distill = {"teacher": teacher, **DISTILL}
    distilled = _top1(_config(folder, framework, f"{name}-distilled", STUDENT, seed, distill=distill))
    figures: dict[str, object] = {
        "case": name,
        "student": STUDENT,
        "epochs": EPOCHS,
        "plain_top1": round(plain, 4),
        "distilled_top1": round(distilled, 4),
        "difference": round(distilled - plain, 4),
    }
    put_row("distill", "case", figures)
    print(
        f"seed {seed}: top-1 {plain:.1%} without, {distilled:.1%} with the teacher: {distilled - plain:+.1%}",
        flush=True,
    )


def _config(folder: Path, framework: str, name: str, arch: str, seed: int, **optimize: Any) -> TrainConfig:
    document = {
        "kind": "train",
        "name": name,
        "framework": framework,
        "data": {
            "train": f"{folder}/packed/train",
            "val": f"{folder}/packed/val",
            "image_size": 64,
            "augment": {"crop_scale": [0.35, 1.0]},
        },
        "model": {"arch": arch},
        "optimize": {
            "epochs": EPOCHS,
            "global_batch_size": 32,
            "optimizer": "adamw",
            "lr": 0.002,
            "weight_decay": 0.05,
            "warmup_epochs": 1,
            "seed": seed,
            **optimize,
        },
        "output": f"{folder}/runs",
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
