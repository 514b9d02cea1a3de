"""Triton with two instances of a Python model. BUNDLE is in the environment; PORT and MAX_BATCH are the arguments."""

import os
import sys
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from tests.bench.serving_peers.model import TOP_K, Model


def make_infer() -> Any:
    """One instance; onnxruntime's session is made in the process that uses it."""
    models: list[Model] = []

    @batch
    def infer(photographs: np.ndarray) -> dict[str, np.ndarray]:
        if not models:
            models.append(Model(os.environ["BUNDLE"]))
        (model,) = models
        images = [model.prepare(photograph) for photograph in photographs[:, 0]]
        ranked = [model.rank(row) for row in model.probabilities(images)]
        return {
            "labels": np.char.encode([[each["label"] for each in classes] for classes in ranked]),
            "scores": np.array([[each["probability"] for each in classes] for classes in ranked], np.float32),
        }

    return infer


if __name__ == "__main__":
    port, max_batch = map(int, sys.argv[1:])
    config = TritonConfig(
        http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False, log_verbose=0
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="scenes",
            infer_func=[make_infer(), make_infer()],
            inputs=[Tensor(name="photographs", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="labels", dtype=bytes, shape=(TOP_K,)),
                Tensor(name="scores", dtype=np.float32, shape=(TOP_K,)),
            ],
            config=ModelConfig(max_batch_size=max_batch, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
