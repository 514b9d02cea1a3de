"""Ray Train's TensorflowTrainer, whose driver does not import TensorFlow. Mirrors torch_trainer."""

import json
import os
from dataclasses import dataclass
from typing import Any

from ray.train.backend import Backend, BackendConfig
from typing_extensions import override

from jobs.light_trainer import LightTrainer, run_on_each
from jobs.ray_private import free_address


class TensorflowTrainer(LightTrainer):
    """Trains in TensorFlow, in place of `ray.train.tensorflow.TensorflowTrainer`.

    Unpickling Ray's own config imports tensorflow before torchvision, and in this order the two abort the worker (each
    registers LLVM's options); it also asks for Keras 2.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(backend_config=KerasConfig(), **settings)


@dataclass
class KerasConfig(BackendConfig):
    """Gives each worker its TF_CONFIG, from which MultiWorkerMirroredStrategy knows the others."""

    @property
    @override
    def backend_cls(self) -> type[Backend]:
        return _KerasBackend


class _KerasBackend(Backend):
    @override
    def on_start(self, worker_group, backend_config: BackendConfig) -> None:  # type: ignore[no-untyped-def]
        """Runs in the driver, before the training function."""
        run_on_each(worker_group, _set_tf_config, worker_group.execute(free_address))


def _set_tf_config(addresses: list[str], rank: int) -> None:
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}})
