"""What each key of `compute` is worth: a training step with it beside one without, and the memory that it takes.

On the GPU where there is one, else on this machine's CPU with the keys that exist there. Each way has a process of its
own, which makes the learner of a job, takes its first batch, warms up (compiles, tries algorithms) and then waits; in
each round all ways take their turns, so that a busy machine is busy for all of them. Seconds are medians over the
rounds, ratios those to the way without any key in the same round; below 1 is faster.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from contextlib import ExitStack
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from scenerec.config.train import TrainConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.stream import Cursor
from scenerec.data.synthetic import draw_scenes
from scenerec.training.make_learner import make_learner
from scenerec.training.open_job import open_job
from scenerec.training.preflight import plan_job
from scenerec.world import World
from tests.bench.record import append_row

NAME = "gpu_keys"
WAYS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "compile": ("compile",),
    "fused_optimizer": ("fused_optimizer",),
    "recompute_activations": ("recompute_activations",),
    "tf32": ("tf32",),
    "cudnn_benchmark": ("cudnn_benchmark",),
    "all_for_speed": ("compile", "fused_optimizer", "tf32", "cudnn_benchmark"),
}
"""Keys that are set, by the way's name."""
OF_GPUS = ("tf32", "cudnn_benchmark")
OF_TORCH = ("fused_optimizer",)
CLASSES = 8
WARM_UP_STEPS = 3


class Work(NamedTuple):
    """What is trained."""

    framework: str
    arch: str
    precision: str
    batch: int
    image_size: int
    steps: int
    """Of a turn."""
    on_gpu: bool


class Turn(NamedTuple):
    """What a turn has taken."""

    step_s: float
    peak_mb: float
    """Of the GPU's memory where there is one, else of the process; since it began."""


def main() -> None:
    """Prints seconds, ratios and memory, and appends a row for each framework, precision and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frameworks", nargs="+", choices=["torch", "tensorflow"], default=["torch", "tensorflow"])
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--precisions", nargs="+", help="by default fp32 and bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--batch", type=int, help="by default 128 on a GPU, 8 on a CPU")
    parser.add_argument("--image-size", type=int, help="by default 224 px on a GPU, 64 px on a CPU")
    parser.add_argument("--steps", type=int, help="of a turn; by default 20 on a GPU, 2 on a CPU")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args()
    on_gpu = has_gpu()
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
        batch = options.batch or (128 if on_gpu else 8)
        sets = pack_scenes(Path(folder), batch, options.image_size or (224 if on_gpu else 64))
        for framework in options.frameworks:
            for precision in options.precisions or (["fp32", "bf16"] if on_gpu else ["fp32"]):
                size, steps = options.image_size or (224 if on_gpu else 64), options.steps or (20 if on_gpu else 2)
                work = Work(framework, options.arch, precision, batch, size, steps, on_gpu)
                compare(work, [way for way in options.ways if exists(way, work)], options.rounds, sets)


def has_gpu() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def exists(way: str, work: Work) -> bool:
    """Whether one of the way's keys does something here; the sum of the others needs two that do."""
    keys = [key for key in WAYS[way] if (work.on_gpu or key not in OF_GPUS)]
    keys = [key for key in keys if work.framework == "torch" or key not in OF_TORCH]
    return way == "plain" or len(keys) >= (2 if len(WAYS[way]) > 1 else 1)


def compare(work: Work, ways: list[str], rounds: int, sets: Path) -> None:
    """One framework in one precision, all ways in turn."""
    found: dict[str, list[Turn]] = {}
    with ExitStack() as processes:
        waiting = {way: processes.enter_context(Process(way, work, sets)) for way in ways}
        for _ in range(rounds):
            for way, process in waiting.items():
                found.setdefault(way, []).append(process.turn())
    for way, turns in found.items():
        ratios = [turn.step_s / plain.step_s for turn, plain in zip(turns, found["plain"], strict=True)]
        figures: dict[str, object] = {
            "framework": work.framework,
            "arch": work.arch,
            "precision": work.precision,
            "batch": work.batch,
            "image_size": work.image_size,
            "device": device_name(work),
            "way": way,
            "rounds": rounds,
            "step_ms": round(1000 * statistics.median(turn.step_s for turn in turns), 1),
            "ratio_median": round(statistics.median(ratios), 3),
            "ratio_least": round(min(ratios), 3),
            "ratio_most": round(max(ratios), 3),
            "peak_mb": round(turns[-1].peak_mb),
        }
        append_row(NAME, figures)
        print(json.dumps(figures), flush=True)


def device_name(work: Work) -> str:
    """The GPU's; a row names the processor anyhow."""
    if not work.on_gpu:
        return "cpu"
    import torch

    return torch.cuda.get_device_name(0)


class Process:
    """A process in which a learner waits for its turns."""

    def __init__(self, way: str, work: Work, sets: Path) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve_turns, args=(theirs, way, work, sets), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # it has warmed up: one after another

    def turn(self) -> Turn:
        """Lets it train, and says what that took. Raises EOFError where it has ended."""
        self._connection.send(True)
        return self._connection.recv()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()  # then it ends
        self._process.join()


def serve_turns(connection: Connection, way: str, work: Work, sets: Path) -> None:
    """The process of a way."""
    config = make_config(way, work, sets)
    learner = make_learner(open_job(config, plan_job(config)), World(device="cuda:0" if work.on_gpu else "cpu"))
    (batch,) = islice(learner.training_batches(Cursor()), 1)

    def train(steps: int) -> None:
        for _ in range(steps):
            learner.train_step(batch, 1e-4)
        learner.take_loss()  # waits for the device

    train(WARM_UP_STEPS)
    connection.send(True)
    try:
        while connection.recv():
            start = time.perf_counter()
            train(work.steps)
            connection.send(Turn((time.perf_counter() - start) / work.steps, peak_mb(work)))
    except EOFError:
        return


def peak_mb(work: Work) -> float:
    """The most memory that this process has held."""
    if not work.on_gpu:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if work.framework == "torch":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    import tensorflow as tf

    return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 1e6


def make_config(way: str, work: Work, sets: Path) -> TrainConfig:
    """The job of a way."""
    return TrainConfig.model_validate(
        {
            "kind": "train",
            "name": way.replace("_", "-"),
            "framework": work.framework,
            "data": {"train": f"{sets}/train", "val": f"{sets}/val", "image_size": work.image_size},
            "model": {"arch": work.arch},
            "optimize": {
                "epochs": 1,
                "global_batch_size": work.batch,
                "lr": 1e-4,
                "optimizer": "adamw",
                "precision": work.precision,
            },
            "scale": {"gpus_per_worker": int(work.on_gpu), "cpus_per_worker": 2},
            "compute": dict.fromkeys(WAYS[way], True),
            "output": str(sets / "runs"),
        }
    )


def pack_scenes(folder: Path, batch: int, size: int) -> Path:
    """Drawn scenes, a batch of them, packed."""
    draw_scenes(folder / "drawn", CLASSES, -(-batch // CLASSES), val_per_class=1, size=size, seed=0)
    request = PackRequest(source=folder / "drawn", destination=str(folder / "sets"), options=PackOptions())
    pack(request)
    return folder / "sets"


if __name__ == "__main__":
    main()
