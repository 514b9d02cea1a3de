"""The same 50 steps in both frameworks, and how far apart they end: see `tests.training_parity`. One row a setting.

In float64 a ResNet-18. In float32 a ConvNeXt, which is smooth: a network with ReLUs drifts from itself there by more
than a per cent within a few steps, since where the input of a ReLU is zero but for rounding it may take either side.

Each run is a process of its own: torch, TensorFlow, and torch with each batch read from its end as the yardstick. A
setting passes where the loss of every step and the last weights differ by no more than its limits. The losses are kept
in training_parity_losses.csv, and drawn from there into training_parity.png.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scenerec.config.file import dump_config, load_config
from tests.bench.record import put_row, read_rows
from tests.training_parity import Trajectory, difference, follow, make_config, pack_images

NAME = "training_parity"
IMAGE_SIZE = 32
BATCH = 16
TRAIN_PER_CLASS = 100
"""Of four classes: 25 steps in each of the two epochs."""
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "weight_decay": 5e-4},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
}


class Limits(NamedTuple):
    """The largest differences that pass."""

    loss: float
    """Of any step, relative."""
    weights: float
    """Of the last weights and running statistics, over the length of their way from the first."""


class Setting(NamedTuple):
    """What is trained."""

    arch: str
    precision: str
    learning_rates: dict[str, float]
    """By optimizer."""
    label_smoothing: float
    limits: Limits
    augment: dict[str, Any] | None = None
    """Random variations of the images."""
    optimize: dict[str, Any] | None = None
    """Further settings."""
    recipe: str = ""
    """What these are, in a word, for the row's name."""


SETTINGS = (
    Setting("resnet18", "fp64", {"sgd": 0.01, "adamw": 5e-4}, 0.0, Limits(1e-6, 1e-5)),
    Setting(
        *("resnet18", "fp64", {"sgd": 0.01}, 0.1, Limits(1e-6, 1e-5)),
        augment={"rand_augment": {"num_ops": 2, "magnitude": 9}},
        optimize={"mix": {"mixup": 0.5, "cutmix": 1.0}, "ema_decay": 0.9},
        recipe="mixup, CutMix, RandAugment, averages",
    ),
    # The smoothing keeps losses from becoming so small that a relative difference says nothing.
    Setting("convnext_tiny", "fp32", {"sgd": 0.002, "adamw": 1e-4}, 0.1, Limits(0.01, 1e-3)),
)
RUNS = {"torch": ("torch", []), "tensorflow": ("tensorflow", []), "torch-reversed": ("torch", ["--reverse"])}
"""The framework, and the options of the child."""
LIGHT, DARK = "#f2a27f", "#1f3a5f"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", default=[setting.arch for setting in SETTINGS])
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=list(OPTIMIZERS))
    parser.add_argument("--recipes", action="store_true", help="those alone with more than plain images")
    parser.add_argument("--follow", nargs=2, type=Path, metavar=("CONFIG", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--reverse", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        config, file = options.follow
        follow(load_config(config), options.reverse).save(file)
        return
    passed = True
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
        sets = pack_images(Path(folder), IMAGE_SIZE, TRAIN_PER_CLASS)
        for setting in SETTINGS:
            if setting.arch not in options.archs or (options.recipes and not setting.recipe):
                continue
            for optimizer in [each for each in options.optimizers if each in setting.learning_rates]:
                figures = record(setting, optimizer, train_all(sets, setting, optimizer))
                passed &= figures["result"] == "pass"
                print(json.dumps(figures), flush=True)
    print(draw().name)
    sys.exit(not passed)


def train_all(sets: Path, setting: Setting, optimizer: str) -> dict[str, Trajectory]:
    """The three runs, one after another in child processes."""
    optimize = {
        **OPTIMIZERS[optimizer],
        "global_batch_size": BATCH,
        "lr": setting.learning_rates[optimizer],
        "label_smoothing": setting.label_smoothing,
        "precision": setting.precision,
        **(setting.optimize or {}),
    }
    runs = {}
    for run, (framework, flags) in RUNS.items():
        name = f"{setting.arch}-{optimizer}-{run}{'-recipe' if setting.recipe else ''}"
        config = sets / f"{name}.yaml"
        made = make_config(sets, framework, setting.arch, IMAGE_SIZE, optimize, name, setting.augment)
        config.write_text(dump_config(made))
        runs[run] = _in_child(config, flags)
    return runs


def record(setting: Setting, optimizer: str, runs: dict[str, Trajectory]) -> dict[str, Any]:
    """Writes the row, and the losses of each step; returns the row."""
    ours, limits, name = runs["torch"], setting.limits, f"{setting.arch} {setting.precision} {optimizer}"
    name += f", {setting.recipe}" if setting.recipe else ""
    twin, yardstick = (difference(ours, runs[run]) for run in ("tensorflow", "torch-reversed"))
    checks = {
        "batches": ours.batches == runs["tensorflow"].batches,
        "losses": bool(twin.losses.max() <= limits.loss),
        "weights": max(twin.weights, twin.statistics) <= limits.weights,
    }
    figures = {
        "setting": name,
        "frameworks": "torch tensorflow",
        "optimizer": optimizer,
        "precision": setting.precision,
        "lr": setting.learning_rates[optimizer],
        "batch": BATCH,
        "image_size": IMAGE_SIZE,
        "steps": len(ours.losses),
        "first_loss": f"{ours.losses[0]:.6f}",
        "last_loss": f"{ours.losses[-1]:.6f}",
        "last_loss_tensorflow": f"{runs['tensorflow'].losses[-1]:.6f}",
        "loss_difference": f"{twin.losses.max():.1e}",
        "loss_yardstick": f"{yardstick.losses.max():.1e}",
        "loss_limit": limits.loss,
        "weights_difference": f"{twin.weights:.1e}",
        "weights_yardstick": f"{yardstick.weights:.1e}",
        "statistics_difference": f"{twin.statistics:.1e}",
        "statistics_yardstick": f"{yardstick.statistics:.1e}",
        "weights_limit": limits.weights,
        "result": "pass" if all(checks.values()) else "differ: " + ", ".join(n for n, ok in checks.items() if not ok),
    }
    put_row(NAME, "setting", figures)
    losses = {run: " ".join(f"{loss:.16g}" for loss in trajectory.losses) for run, trajectory in runs.items()}
    put_row(f"{NAME}_losses", "setting", {"setting": name, **losses})
    return figures


def _in_child(config: Path, flags: list[str]) -> Trajectory:
    file = config.with_suffix(".npz")
    command = [sys.executable, "-m", "tests.bench.training_parity", "--follow", str(config), str(file), *flags]
    # One thread: sums are then taken in the same order at each run of the benchmark.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return Trajectory.load(file)


def draw() -> Path:
    """The recorded losses of each setting above, their differences below."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = read_rows(f"{NAME}_losses")
    figure, axes = pyplot.subplots(
        2, len(rows), figsize=(4.2 * len(rows), 6.4), sharex=True, squeeze=False, height_ratios=(3, 2)
    )
    for row, (above, below) in zip(rows, axes.T, strict=True):
        losses = {run: np.array([float(loss) for loss in row[run].split()]) for run in RUNS}
        steps = np.arange(1, len(losses["torch"]) + 1)
        rounding = np.finfo(np.float64 if "fp64" in row["setting"] else np.float32).eps / 2
        above.plot(steps, losses["torch"], color=LIGHT, linewidth=6, solid_capstyle="round", label="PyTorch")
        above.plot(steps, losses["tensorflow"], color=DARK, linewidth=1.4, label="TensorFlow")
        above.set_title(row["setting"].replace(", ", "\n", 1), fontsize="medium")
        above.set(ylim=(0, None))
        for run, color, label in (
            ("torch-reversed", LIGHT, "PyTorch, batches reversed"),
            ("tensorflow", DARK, "TensorFlow"),
        ):
            # Equal losses have no place on a logarithmic axis: they are drawn where rounding begins.
            apart = np.maximum(np.abs(losses[run] - losses["torch"]) / losses["torch"], rounding)
            below.semilogy(steps, apart, color=color, linewidth=1.4, label=label)
        below.axhline(0.01, color="#888888", linewidth=0.8, linestyle="--", label="1 %")
        below.set(xlabel="step", ylim=(1e-16, 1))
    axes[0, 0].set_ylabel("training loss")
    axes[1, 0].set_ylabel("difference from PyTorch,\nover the loss")
    axes[0, 0].legend(frameon=False, fontsize="small")
    axes[1, 0].legend(frameon=False, fontsize="small", loc="lower right")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path = Path(__file__).with_name(f"{NAME}.png")
    figure.savefig(path, dpi=110)
    return path


if __name__ == "__main__":
    main()
