"""How fast torch adds up numbers over processes: what trainings do with their gradients after each step."""

import time

from jobs.torch_trainer import connect

_BYTES = 32 << 20
_TIMES = 5


def measure(backend: str, address: str, port: int, own_address: str, rank: int, size: int) -> float:
    """Joins a process group, as a training's worker does, and returns how many bytes a second all ranks add up.

    Args:
        backend: `gloo`, of numbers in the machine's memory, or `nccl`, of those on GPU 0.
        address: of the node of rank 0.
        port: free there.
        own_address: of this node.
        rank: of this process.
        size: number of processes.
    """
    import torch
    import torch.distributed as dist

    connect(backend, address, port, own_address, rank, size)
    try:
        numbers = torch.ones(_BYTES // 4, device="cuda:0" if backend == "nccl" else "cpu")
        dist.all_reduce(numbers)  # which makes the connections
        _finish(backend)
        begun_s = time.perf_counter()
        for _ in range(_TIMES):
            dist.all_reduce(numbers)
        _finish(backend)
        return _TIMES * _BYTES / (time.perf_counter() - begun_s)
    finally:
        dist.destroy_process_group()


def _finish(backend: str) -> None:
    if backend == "nccl":
        import torch

        torch.cuda.synchronize()
