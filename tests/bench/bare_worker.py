"""One rank of the library's loop without Ray: RANK and WORLD_SIZE as torchrun sets them, TF_CONFIG for TensorFlow.

torchrun --nproc-per-node 2 -m tests.bench.bare_worker train.yaml
"""

import os
import sys

from scenerec.config.file import load_run
from scenerec.config.train import TrainConfig
from scenerec.job_log import format_line
from scenerec.training.loop import train
from scenerec.training.make_learner import make_learner
from scenerec.training.open_job import open_job
from scenerec.training.preflight import plan_job
from scenerec.training.pretrain_preflight import plan_pretraining
from scenerec.world import World


def main(config_file: str) -> None:
    config = load_run(config_file)
    job = open_job(config, plan_job(config) if isinstance(config, TrainConfig) else plan_pretraining(config))
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if config.framework == "torch":
        import torch.distributed as dist

        dist.init_process_group("gloo")
    learner = make_learner(job, world)
    train(job, world, learner, lambda event: print(format_line(event), flush=True), lambda metrics: None)


if __name__ == "__main__":
    main(sys.argv[1])
