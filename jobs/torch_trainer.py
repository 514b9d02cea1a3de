"""Ray Train's TorchTrainer, whose driver and controller do not import torch. Mirrors tf_trainer."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from typing_extensions import override

from jobs.light_trainer import LightTrainer
from jobs.ray_private import free_address_and_port

_PATIENCE = timedelta(minutes=30)  # of a collective operation
_SHUTDOWN_PATIENCE_S = 5.0


class TorchTrainer(LightTrainer):
    """Trains in torch, in place of `ray.train.torch.TorchTrainer`, which imports torch in driver and controller."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(backend_config=ProcessGroupConfig(), **settings)


@dataclass
class ProcessGroupConfig(BackendConfig):
    """Connects the workers as a process group of torch: by NCCL where they have GPUs, else by Gloo."""

    @property
    @override
    def backend_cls(self) -> type[Backend]:
        return _ProcessGroupBackend


class _ProcessGroupBackend(Backend):
    share_cuda_visible_devices = True  # NCCL wants to see all GPUs of a node

    @override
    def on_start(self, worker_group, backend_config: BackendConfig) -> None:  # type: ignore[no-untyped-def]
        """Runs in the controller, before the training function."""
        address, port = worker_group.execute_single(0, free_address_and_port)
        name = "nccl" if worker_group.get_resources_per_worker().get("GPU", 0) else "gloo"
        size = len(worker_group)
        ray.get(
            [
                worker_group.execute_single_async(rank, _join_process_group, name, address, port, rank, size)
                for rank in range(size)
            ]
        )

    @override
    def on_shutdown(self, worker_group, backend_config: BackendConfig) -> None:  # type: ignore[no-untyped-def]
        """Runs in the controller, after the training function or a failure."""
        ray.wait(
            worker_group.execute_async(_leave_process_group),
            num_returns=len(worker_group),
            timeout=_SHUTDOWN_PATIENCE_S,
        )


def _join_process_group(name: str, address: str, port: int, rank: int, size: int) -> None:
    """Sets torchrun's variables (PyTorch, Elastic: "Environment variables") and connects."""
    import torch.distributed as dist

    context = ray.train.get_context()
    os.environ.update(
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
        RANK=str(rank),
        WORLD_SIZE=str(size),
        LOCAL_RANK=str(context.get_local_rank()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()),
        NODE_RANK=str(context.get_node_rank()),
    )
    if name == "nccl":
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")  # an operation that times out ends the worker
    dist.init_process_group(name, "env://", rank=rank, world_size=size, timeout=_PATIENCE)


def _leave_process_group() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
