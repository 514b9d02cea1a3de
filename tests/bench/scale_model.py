"""What so many workers would reach, by arithmetic on stated constants: steps, exchange of gradients, fetching, saving.

It predicts no machine to the percent; it says which part is the first to limit, and how far away the others are.
"""

import math
from dataclasses import dataclass

import numpy as np

from scenerec.data.order import lane_pieces

FLOAT_BYTES = 4
_BACKWARD_SHARE = 2 / 3
"""Of a step's arithmetic: two products for each of the forward pass. Gradients are exchanged meanwhile, bucket by
bucket (Li et al. 2020, PyTorch Distributed, section 3.2.3)."""


@dataclass(frozen=True)
class Hardware:
    """Nodes with GPUs, their network, and a store."""

    images_per_s: float = 2_500
    """Images that one worker trains alone: ResNet-50 at 224 px on an A100 (NVIDIA DeepLearningExamples: 2,470)."""
    workers_per_node: int = 8
    """GPUs of a node."""
    gpu_bytes_per_s: float = 300e9
    """Between two GPUs of a node, each way: NVLink of an A100, 600 GB/s both ways (NVIDIA's data sheet)."""
    node_bytes_per_s: float = 12.5e9
    """Between two nodes, each way: 100 Gbit/s."""
    hop_s: float = 10e-6
    """Latency of one hop of a ring."""
    store_bytes_per_s: float = 12.5e9
    """What the store gives to all: 100 Gbit/s."""
    writer_bytes_per_s: float = 0.5e9
    """What one worker writes into the store."""


@dataclass(frozen=True)
class Workload:
    """A run."""

    samples: int
    """Training images."""
    set_bytes: int
    """Bytes of the training set."""
    parameters: int
    """Of the network, each of which has a gradient of float32."""
    slots: int
    """Arrays that the optimizer keeps of each: 1 of SGD with momentum, 2 of AdamW."""
    global_batch_size: int
    """Images of a step."""
    steps_per_checkpoint: int
    """Steps from one checkpoint to the next."""

    @property
    def gradient_bytes(self) -> int:
        """What the workers exchange in a step."""
        return self.parameters * FLOAT_BYTES

    @property
    def checkpoint_bytes(self) -> int:
        """A checkpoint: weights and slots."""
        return self.gradient_bytes * (1 + self.slots)


@dataclass(frozen=True)
class Prediction:
    """What so many workers reach."""

    step_s: float
    compute_s: float
    """Of a step, the arithmetic of one worker."""
    exchange_s: float
    """The all-reduce of the gradients; what of it the backward pass hides does not count in `step_s`."""
    fetch_s: float
    """What the store needs for a step's images."""
    checkpoint_s: float
    """Writing a checkpoint, in the background."""
    images_per_s: float
    efficiency: float
    """Over so many workers that need not wait for one another."""
    limit: str
    """What a step waits for: `arithmetic`, `exchange`, `store` or `checkpoints`."""


def all_reduce_s(size_bytes: int, workers: int, hardware: Hardware) -> float:
    """A ring all-reduce: 2 (n - 1) / n times the bytes over each link, in 2 (n - 1) hops (Patarasuk and Yuan 2009).

    The slowest link counts: the one between nodes where there are several. NCCL takes trees where latency counts, of
    which 2 log2(n) hops come one after another (NCCL 2.4: double binary trees); so the least of both is taken.
    """
    if workers == 1:
        return 0.0
    is_one_node = workers <= hardware.workers_per_node
    bytes_per_s = hardware.gpu_bytes_per_s if is_one_node else hardware.node_bytes_per_s
    hops = min(2 * (workers - 1), 2 * math.ceil(math.log2(workers)))
    return 2 * (workers - 1) / workers * size_bytes / bytes_per_s + hops * hardware.hop_s


def predict(work: Workload, workers: int, fetched_share: float, hardware: Hardware) -> Prediction:
    """What `workers` reach that fetch `fetched_share` times the set in an epoch.

    A step is as long as the longest of what goes on side by side: arithmetic with what of the exchange the backward
    pass does not hide, fetching ahead, and saving in the background.
    """
    compute_s = work.global_batch_size / workers / hardware.images_per_s
    exchange_s = all_reduce_s(work.gradient_bytes, workers, hardware)
    exposed_s = max(exchange_s - _BACKWARD_SHARE * compute_s, 0.0)
    image_bytes = work.set_bytes / work.samples
    fetch_s = work.global_batch_size * image_bytes * fetched_share / hardware.store_bytes_per_s
    checkpoint_s = work.checkpoint_bytes / hardware.writer_bytes_per_s
    parts = {
        "exchange" if exposed_s > 0 else "arithmetic": compute_s + exposed_s,
        "store": fetch_s,
        "checkpoints": checkpoint_s / work.steps_per_checkpoint,
    }
    limit = max(parts, key=parts.__getitem__)
    images_per_s = work.global_batch_size / parts[limit]
    return Prediction(
        step_s=parts[limit],
        compute_s=compute_s,
        exchange_s=exchange_s,
        fetch_s=fetch_s,
        checkpoint_s=checkpoint_s,
        images_per_s=images_per_s,
        efficiency=images_per_s / (workers * hardware.images_per_s),
        limit=limit,
    )


def busiest_share(shard_samples: np.ndarray, shard_bytes: np.ndarray, lanes: int, workers: int) -> float:
    """Bytes that the worker fetches in an epoch that fetches most, over their mean, where `workers` divide `lanes`."""
    pieces = lane_pieces(shard_samples, lanes)
    fetched = np.bincount(pieces.lane % workers, weights=shard_bytes[pieces.shard], minlength=workers)
    return float(fetched.max() / fetched.mean())
