"""What comes before a job's first step, part by part, beside the same loop in bare processes, in turn.

The parts: `submit` (the command's own checks), `driver` (the job's Python and its imports), `controller` (Ray Train's,
to the first worker), `workers` (their processes), `learner` (the framework's import, the network, the look for a
checkpoint) and `step` (the first batch, tracing); `end` is what comes after the last epoch. The peer is torchrun
(torch), or two processes with a TF_CONFIG (tensorflow): its time is what the framework and the network need. Processor
seconds are those of everything that the node runs meanwhile.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from cluster import local, loopback
from cluster.state import load_state
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from tests.bench.ray_overhead import WORKERS, bare_commands, write_config
from tests.bench.record import append_row

# What the lines begin with, or have in them, that end a part.
MARKS = {"sent": "job ", "learner": "training from", "step": "1/1 step ", "epoch": "      1/1"}
PARTS = ("submit", "driver", "controller", "workers", "learner", "step", "end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frameworks", nargs="+", default=["torch", "tensorflow"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--dry", action="store_true", help="Record no row.")
    options = parser.parse_args()
    options.epochs = 1
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
        home = Path(folder) / "home"
        try:
            cluster = local.start(home, cpus=WORKERS, gpus=0)
            os.environ.update(cluster.environment, SCENEREC_HOME=str(home), OMP_NUM_THREADS="1")
            draw_scenes(Path(folder) / "scenes", classes=6, train_per_class=20, val_per_class=10, seed=0)
            request = PackRequest(
                source=Path(folder) / "scenes", destination="s3://scenes/bench", options=PackOptions(shard_mb=1)
            )
            pack(request)
            for framework in options.frameworks:
                measure(Path(folder), cluster, framework, options)
        finally:
            local.stop(home, purge=True)


def measure(folder: Path, cluster: local.LocalCluster, framework: str, options: argparse.Namespace) -> None:
    """Pairs of runs after one that warms up; prints and records medians."""
    runs: list[dict[str, float]] = []
    for number in range(options.rounds + 1):
        parts = submitted(write_config(folder, f"{framework}-ray-{number}", framework, options), cluster)
        parts["bare"] = bare(write_config(folder, f"{framework}-bare-{number}", framework, options), framework)
        print(framework, " ".join(f"{name} {value:.1f}" for name, value in parts.items()), flush=True)
        if number:
            runs.append(parts)
    medians = {f"{name}_s": round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
    ratio = statistics.median(run["first_step"] / run["bare"] for run in runs)
    figures = {"framework": framework, "rounds": options.rounds, **medians, "ratio": round(ratio, 2)}
    print(json.dumps(figures), flush=True)
    if not options.dry:
        append_row("start", figures)


def submitted(config: Path, cluster: local.LocalCluster) -> dict[str, float]:
    """Seconds of each part of a job that is submitted as a user does it."""
    began_s = time.time()
    at = {}
    with NodeCpu(cluster) as cpu:
        for line in lines([[sys.executable, "-m", "scenerec", "submit", str(config)]]):
            for name, mark in MARKS.items():
                if mark in line:
                    at.setdefault(name, time.time())
        ended_s = time.time()
    processes = started_processes(cluster, began_s)
    driver = next(start_s for kind, start_s in processes if kind == "DRIVER")
    workers = [start_s for kind, start_s in processes if kind == "WORKER" and start_s > driver]
    marks = [began_s, at["sent"], driver, min(workers), max(workers), at["learner"], at["step"]]
    parts = dict(zip(PARTS, (after - before for before, after in itertools.pairwise(marks)), strict=False))
    return {
        **parts,
        "end": ended_s - at["epoch"],
        "first_step": at["step"] - began_s,
        "cpu": cpu.seconds,
    }


def bare(config: Path, framework: str) -> float:
    """Seconds to the first step of the loop in processes of its own."""
    began_s, first_s = time.time(), 0.0
    for line in lines(*bare_commands(config, framework)):
        if line.startswith("[progress]") and not first_s:
            first_s = time.time() - began_s
    return first_s


def lines(commands: list[list[str]], environments: list[dict[str, str]] | None = None) -> Iterator[str]:
    """What the first of the commands prints, when it prints it, until all have ended."""
    environments = environments or [{} for _ in commands]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if rank == 0 else subprocess.DEVNULL,
            text=True,
        )
        for rank, (command, environment) in enumerate(zip(commands, environments, strict=True))
    ]
    assert processes[0].stdout
    tail = []
    for line in processes[0].stdout:
        tail.append(line)
        yield line
    exit_codes = [process.wait() for process in processes]
    if any(exit_codes):
        sys.exit("".join(tail[-20:]))


def started_processes(cluster: local.LocalCluster, since_s: float) -> list[tuple[str, float]]:
    """(kind, when it was there) of the processes that Ray has started since then, in seconds since 1970."""
    headers = {"Authorization": f"Bearer {cluster.environment['RAY_AUTH_TOKEN']}"}
    answer = loopback.get(f"{cluster.dashboard_url}/api/v0/workers?detail=1&limit=10000", headers)
    workers = json.loads(answer or b"")["data"]["result"]["result"]
    starts = [(each["worker_type"], each["start_time_ms"] / 1000) for each in workers]
    return sorted((start for start in starts if start[1] > since_s), key=lambda start: start[1])


class NodeCpu(threading.Thread):
    """Processor seconds of the node's processes between entry and exit, looked at five times a second."""

    def __init__(self, cluster: local.LocalCluster) -> None:
        super().__init__(daemon=True)
        state = load_state(cluster.home)
        assert state
        self.root = psutil.Process(state.services["ray"].pid)
        self.before, self.after = self._look(), dict[int, float]()
        self.ended = threading.Event()

    @property
    def seconds(self) -> float:
        """Of all processes that were seen."""
        return sum(used - self.before.get(pid, 0.0) for pid, used in self.after.items())

    def run(self) -> None:
        while not self.ended.wait(0.2):
            self.after |= self._look()

    def __enter__(self) -> "NodeCpu":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()

    def _look(self) -> dict[int, float]:
        used = {}
        for process in [self.root, *self.root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                used[process.pid] = sum(process.cpu_times()[:2])
        return used


if __name__ == "__main__":
    main()
