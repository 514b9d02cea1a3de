"""What is known of a trial's network before it has learned anything: parameters, GFLOPs, latency."""

import json

from scenerec.config.run import RunConfig
from scenerec.config.tune import Objective
from scenerec.models.zoo import architecture
from scenerec.storage import Storage, read_json


def static_values(
    objectives: tuple[Objective, ...], config: RunConfig, classes: int, cache: Storage
) -> dict[str, float]:
    """The objectives that training does not change; latencies are measured once each and kept in `cache`.

    `parameters` are those published at 1000 classes; `gflops` scale with the image's area. Raises ModelError,
    StorageError.
    """
    arch = architecture(config.model.arch)
    values: dict[str, float] = {}
    if "parameters" in objectives:
        values["parameters"] = arch.parameters
    if "gflops" in objectives:
        values["gflops"] = arch.gflops_at(config.data.image_size)
    if "latency_ms" in objectives:
        values["latency_ms"] = _latency_ms(config, classes, cache)
    return values


def _latency_ms(config: RunConfig, classes: int, cache: Storage) -> float:
    key = f"latency/{config.model.arch}-{config.data.image_size}.json"
    if found := read_json(cache, key, "latency_ms"):
        return float(found["latency_ms"])
    from scenerec.search.torch_latency import latency_ms  # imports torch, which takes seconds

    measured = latency_ms(config.model.arch, config.data.image_size, classes)
    cache.put(key, json.dumps({"latency_ms": measured}).encode())
    return measured
