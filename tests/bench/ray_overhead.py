"""What Ray costs: images/s of the same loop under Ray Train and in bare processes, in turn, on the same store.

The peer is torchrun (torch), or two processes with a TF_CONFIG (tensorflow). Counted are the epochs after the first, by
the loop's own clock; validation and start-up are outside of it, checkpoints inside. The ratio is taken pair by pair.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from cluster import local
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from scenerec.training.run_folder import RunFolder
from tests.bench.record import append_row

WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frameworks", nargs="+", default=["torch", "tensorflow"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--arch", default="resnet18")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
        try:
            cluster = local.start(Path(folder) / "home", cpus=WORKERS, gpus=0)
            os.environ.update(cluster.environment, RAY_ADDRESS=cluster.ray_address, OMP_NUM_THREADS="1")
            draw_scenes(Path(folder) / "scenes", classes=6, train_per_class=150, val_per_class=10, seed=0)
            request = PackRequest(
                source=Path(folder) / "scenes", destination="s3://scenes/bench", options=PackOptions(shard_mb=1)
            )
            pack(request)
            for framework in options.frameworks:
                measure(Path(folder), framework, options)
        finally:
            local.stop(Path(folder) / "home", purge=True)


def measure(folder: Path, framework: str, options: argparse.Namespace) -> None:
    """Pairs of runs, the order swapped from pair to pair; prints and records medians."""
    rates: dict[str, list[float]] = {"ray": [], "bare": []}
    for number in range(options.rounds):
        for kind in ("ray", "bare") if number % 2 == 0 else ("bare", "ray"):
            config = write_config(folder, f"{framework}-{kind}-{number}", framework, options)
            run_ray(config) if kind == "ray" else run_bare(config, framework)
            history = RunFolder(f"s3://scenes/runs/{config.stem}").read_history()
            rates[kind].append(statistics.mean(epoch.images_per_s for epoch in history[1:]))
            print(f"{framework} {kind:<4} {rates[kind][-1]:.1f} images/s", flush=True)
    ratios = [ray / bare for ray, bare in zip(rates["ray"], rates["bare"], strict=True)]
    figures = {
        "framework": framework,
        "arch": options.arch,
        "workers": WORKERS,
        "rounds": options.rounds,
        "ray_images_per_s": round(statistics.median(rates["ray"]), 1),
        "bare_images_per_s": round(statistics.median(rates["bare"]), 1),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
    }
    path = append_row("ray_overhead", figures)
    print(json.dumps(figures), f"-> {path.name}", flush=True)


def write_config(folder: Path, name: str, framework: str, options: argparse.Namespace) -> Path:
    document = {
        "kind": "train",
        "name": name,
        "framework": framework,
        "data": {"train": "s3://scenes/bench/train", "val": "s3://scenes/bench/val", "image_size": 64},
        "model": {"arch": options.arch},
        "optimize": {"epochs": options.epochs, "global_batch_size": 32, "lr": 0.01},
        "scale": {"workers": WORKERS},
        "output": "s3://scenes/runs",
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def run_ray(config: Path) -> None:
    run([sys.executable, "-m", "jobs.train", str(config)])


def run_bare(config: Path, framework: str) -> None:
    ranks = []
    for rank, (command, environment) in enumerate(zip(*bare_commands(config, framework), strict=True)):
        log = config.with_suffix(f".{rank}.log").open("w")
        ranks.append(subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log))
    exit_codes = [process.wait() for process in ranks]
    for rank, code in enumerate(exit_codes):
        if code:
            sys.exit(config.with_suffix(f".{rank}.log").read_text()[-3000:])


def bare_commands(config: Path, framework: str) -> tuple[list[list[str]], list[dict[str, str]]]:
    """The processes of the bare loop: their commands, and what is added to their environments."""
    module = ["-m", "tests.bench.bare_worker", str(config)]
    if framework == "torch":
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(WORKERS)]
        return [[sys.executable, *torchrun, *module]], [{}]
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(WORKERS)]
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}} for rank in range(WORKERS)]
    environments = [
        {"RANK": str(rank), "WORLD_SIZE": str(WORKERS), "TF_CONFIG": json.dumps(task)}
        for rank, task in enumerate(tasks)
    ]
    return [[sys.executable, *module]] * WORKERS, environments


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
