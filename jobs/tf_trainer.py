"""Ray Train's TensorflowTrainer, whose driver and controller do not import TensorFlow. Mirrors torch_trainer."""

import json
import os
from dataclasses import dataclass
from typing import Any

import ray
from ray._common.network_utils import build_address
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig

from jobs.light_trainer import LightTrainer


class TensorflowTrainer(LightTrainer):
    """In place of `ray.train.tensorflow.TensorflowTrainer`.

    Unpickling Ray's own config imports tensorflow before torchvision, and in this order the two abort the worker (each
    registers LLVM's options); it also asks for Keras 2.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(backend_config=KerasConfig(), **settings)


@dataclass
class KerasConfig(BackendConfig):
    """Gives each worker its TF_CONFIG, from which MultiWorkerMirroredStrategy knows the others."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The class that acts on this config."""
        return _KerasBackend


class _KerasBackend(Backend):
    def on_start(self, worker_group, backend_config: BackendConfig) -> None:  # type: ignore[no-untyped-def]
        """Runs in the controller, before the training function."""
        addresses = worker_group.execute(_free_address)
        ray.get(
            [
                worker_group.execute_single_async(rank, _set_tf_config, addresses, rank)
                for rank in range(len(worker_group))
            ]
        )


def _free_address() -> str:
    host, port = get_address_and_port()
    return build_address(host, port)


def _set_tf_config(addresses: list[str], rank: int) -> None:
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}})
