"""Scale by simulation: 1.8 million images on 1, 8, 64 and 512 workers, planned by the product, timed by a model.

Planning, lanes, bytes fetched and memory are the product's own; steps are `scale_model`'s, for the hardware that the
options state. Prints the table of docs/scale.md, and writes scale.csv.
"""

import argparse
import time
import tracemalloc
from dataclasses import asdict, dataclass, fields
from math import ceil

import numpy as np

from scenerec.data.lanes import choose_lanes, plan_reading
from scenerec.data.manifest import Manifest, Shard
from scenerec.data.order import EpochOrder
from scenerec.data.repeats import Repeats
from scenerec.models.zoo import architecture
from tests.bench.record import put_row
from tests.bench.scale_model import Hardware, Prediction, Workload, busiest_share, predict

WORKERS = (1, 8, 64, 512)
SHARDS, SHARD_BYTES = 700, 64_000_000
CLASSES = 365
MOST_PER_WORKER, LARGEST_BATCH = 256, 8192
"""Larger batches than 8,192 lose accuracy with SGD (Goyal et al. 2017, figure 1)."""
STEPS_PER_CHECKPOINT = 1000
MOMENTUM_ALONE = 1


A100_NODES = Hardware()


@dataclass(frozen=True)
class Simulated:
    """So many workers: what the product plans, and what the model says of it."""

    workers: int
    nodes: int
    lanes: int
    global_batch_size: int
    plan_s: float
    """Choosing the lanes, and what is fetched: once, at `scenerec submit` and in the job."""
    epoch_plan_s: float
    """A worker's plan of one epoch."""
    plan_bytes: int
    """The most memory that both take, without the manifest."""
    fetched_share: float
    busiest_share: float
    held_bytes: int
    """Shards in the memory of a worker."""
    checkpoint_bytes: int
    steps_per_checkpoint: int
    prediction: Prediction


def large_set() -> Manifest:
    """1.8 million images of 365 classes in 700 shards of 64 MB: how many fit in one varies."""
    rng = np.random.default_rng(0)
    shards = []
    for number, samples in enumerate((2571 + np.round(rng.normal(0, 60, SHARDS)).astype(int)).tolist()):
        counts = np.bincount(rng.integers(CLASSES, size=samples), minlength=CLASSES).tolist()
        found = {index: count for index, count in enumerate(counts) if count}
        key, digest = f"{number:06}.tar", f"{number:064x}"
        shards.append(Shard(key=key, size_bytes=SHARD_BYTES, sha256=digest, samples=samples, class_counts=found))
    return Manifest(classes=tuple(f"class {index}" for index in range(CLASSES)), shards=tuple(shards))


def simulate(
    data: Manifest, workers: int, arch: str = "resnet50", hardware: Hardware = A100_NODES, cache_bytes: int = 0
) -> Simulated:
    """Plans a run of so many workers over `data`, and predicts its steps."""
    samples, sizes = data.shard_samples.tolist(), data.shard_bytes.tolist()
    batch = min(MOST_PER_WORKER * workers, LARGEST_BATCH)
    tracemalloc.start()
    began_s = time.perf_counter()
    lanes = choose_lanes([workers], samples, sizes)
    (reading,) = plan_reading(data, Repeats(1, batch, lanes), [workers], hardware.workers_per_node, cache_bytes)
    planned_s = time.perf_counter()
    order = EpochOrder(tuple(samples), lanes, seed=0, epoch=1)
    order.passages(reader=workers - 1, readers=workers)
    ended_s = time.perf_counter()
    plan_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    steps_per_checkpoint = min(STEPS_PER_CHECKPOINT, data.samples // batch)  # each epoch ends with one
    parameters = architecture(arch).parameters
    work = Workload(data.samples, data.size_bytes, parameters, MOMENTUM_ALONE, batch, steps_per_checkpoint)
    return Simulated(
        workers=workers,
        nodes=ceil(workers / hardware.workers_per_node),
        lanes=lanes,
        global_batch_size=batch,
        plan_s=planned_s - began_s,
        epoch_plan_s=ended_s - planned_s,
        plan_bytes=plan_bytes,
        fetched_share=reading.fetched_share,
        busiest_share=busiest_share(data.shard_samples, data.shard_bytes, lanes, workers),
        held_bytes=reading.held_bytes,
        checkpoint_bytes=work.checkpoint_bytes,
        steps_per_checkpoint=steps_per_checkpoint,
        prediction=predict(work, workers, reading.fetched_share, hardware),
    )


def cells(found: Simulated) -> dict[str, str]:
    """A row of the table."""
    step = found.prediction
    saving = step.checkpoint_s / (step.step_s * found.steps_per_checkpoint)
    return {
        "Workers": str(found.workers),
        "Batch": f"{found.global_batch_size:,}",
        "Lanes": str(found.lanes),
        "Planning": f"{found.plan_s * 1e3:.0f} ms, and {found.epoch_plan_s * 1e3:.0f} ms an epoch",
        "in memory": f"{found.plan_bytes / 1e6:.1f} MB",
        "Shards held": f"{found.held_bytes / 1e6:,.0f} MB",
        "Fetched": f"{found.fetched_share:.2f} x",
        "Busiest": f"{found.busiest_share:.2f} x",
        "Arithmetic": f"{step.compute_s * 1e3:.1f} ms",
        "All-reduce": f"{step.exchange_s * 1e3:.1f} ms",
        "Store": f"{step.fetch_s * 1e3:.1f} ms",
        "Saving": f"{saving:.1%} of the time",
        "Images/s": f"{step.images_per_s:,.0f}",
        "Efficiency": f"{step.efficiency:.0%}",
        "Limited by": step.limit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--workers", nargs="+", type=int, default=WORKERS)
    parser.add_argument("--cache-gb", type=float, default=0.0, help="data.cache.size_gb of each node")
    for each in fields(Hardware):
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=float, default=each.default)
    options = vars(parser.parse_args())
    hardware = Hardware(**{each.name: type(each.default)(options[each.name]) for each in fields(Hardware)})
    data = large_set()
    cache_bytes = round(options["cache_gb"] * 1e9)
    simulate(data, 1)  # the first one meets cold code
    rows = [simulate(data, workers, options["arch"], hardware, cache_bytes) for workers in options["workers"]]
    table = [cells(row) for row in rows]
    for line in (table[0], ["---"] * len(table[0]), *(row.values() for row in table)):
        print(f"| {' | '.join(line)} |")
    if hardware == A100_NODES and options["arch"] == "resnet50" and not options["cache_gb"]:
        for found in rows:
            figures = asdict(found) | {"workers": str(found.workers)}
            figures |= figures.pop("prediction")
            put_row("scale", "workers", {key: _rounded(value) for key, value in figures.items()})


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
