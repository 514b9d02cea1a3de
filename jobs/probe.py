"""The probe's job: `python -m jobs.probe config.yaml` on the cluster computes the features of one shard a task."""

import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial

import ray

from jobs.log import ImageNotes, say
from jobs.main import main
from jobs.ray_tasks import run_tasks
from scenerec.config.file import parse_as
from scenerec.config.probe import ProbeConfig
from scenerec.config.scale import ScaleConfig
from scenerec.config.yaml_text import read_text
from scenerec.json_object import JsonObject
from scenerec.training.probing.features import FeatureMaker, FeatureTask
from scenerec.training.probing.prober import probe


def run_file(file: str) -> JsonObject:
    """Probes by the config in `file` and returns the content of result.json. Raises ScenerecError."""
    config = parse_as(ProbeConfig, read_text(file), file)
    ray.init(log_to_driver=False, logging_level="ERROR")
    return probe(config, partial(_compute_on_cluster, config.scale), say, ImageNotes())


def make_features(task: FeatureTask) -> int:
    """Computes and writes the features of a shard; returns how many images it has. Raises ScenerecError."""
    return _opened(task.config, task.backbone).make(task.split, task.shard)


@lru_cache(maxsize=1)
def _opened(config: str, backbone: int) -> FeatureMaker:
    """The backbone of this process: opened once, for all shards that come here."""
    return FeatureMaker(ProbeConfig.model_validate_json(config), backbone)


def _compute_on_cluster(scale: ScaleConfig, tasks: Iterable[FeatureTask]) -> Iterator[int]:
    workers, cpus, gpus = scale.max_workers, scale.cpus_per_worker, scale.gpus_per_worker
    return run_tasks(make_features, tasks, workers, cpus, gpus, scale.max_restarts)


if __name__ == "__main__":
    sys.exit(main("jobs.probe"))
