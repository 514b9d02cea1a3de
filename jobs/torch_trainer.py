"""Ray Train's TorchTrainer, whose driver does not import torch. Mirrors tf_trainer."""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from typing_extensions import override

from cluster.network import interface_of
from jobs.light_trainer import LightTrainer, run_on_each
from jobs.ray_private import free_address_and_port
from scenerec.large_imports import large_imports

_PATIENCE = timedelta(minutes=30)  # of a collective operation
_SHUTDOWN_PATIENCE_S = 5.0


class TorchTrainer(LightTrainer):
    """Trains in torch, in place of `ray.train.torch.TorchTrainer`, which imports torch in its driver."""

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
        """Runs in the driver, before the training function."""
        address, port = worker_group.execute_single(0, free_address_and_port)
        name = "nccl" if worker_group.get_resources_per_worker().get("GPU", 0) else "gloo"
        run_on_each(worker_group, _join_process_group, name, address, port, len(worker_group))

    @override
    def on_shutdown(self, worker_group, backend_config: BackendConfig) -> None:  # type: ignore[no-untyped-def]
        """Runs in the driver, after the training function or a failure."""
        ray.wait(
            worker_group.execute_async(_leave_process_group),
            num_returns=len(worker_group),
            timeout=_SHUTDOWN_PATIENCE_S,
        )


def _join_process_group(name: str, address: str, port: int, size: int, rank: int) -> None:
    """Sets torchrun's variables (PyTorch, Elastic: "Environment variables") and connects."""
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
    connect(name, address, port, ray.util.get_node_ip_address(), rank, size)


def connect(name: str, address: str, port: int, own_address: str, rank: int, size: int) -> None:
    """Makes this process a rank of a process group, whose sockets listen on the addresses of their nodes.

    By itself torch's store would listen on all interfaces, and Gloo on that of the host's name, which may lead outside,
    or be 127.0.1.1.

    Args:
        name: of the backend, `gloo` or `nccl`.
        address: of the node of rank 0, whose store lets the ranks find each other.
        port: of that store; free until now.
        own_address: of this node.
        rank: of this process.
        size: number of ranks.
    """
    with large_imports():
        import torch.distributed as dist

    if interface := interface_of(own_address):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        if own_address == "127.0.0.1":  # elsewhere NCCL finds faster ways by itself
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    listening = _listening_socket(address, port).detach() if rank == 0 else None
    store = dist.TCPStore(address, port, size, rank == 0, _PATIENCE, master_listen_fd=listening)
    dist.init_process_group(name, store=store, rank=rank, world_size=size, timeout=_PATIENCE)


def _listening_socket(address: str, port: int) -> socket.socket:
    """Returns a socket that listens on one address alone."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=socket.SOMAXCONN)


def _leave_process_group() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
