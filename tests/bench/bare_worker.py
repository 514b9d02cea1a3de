"""One rank of the library's loop without Ray: RANK and WORLD_SIZE as torchrun sets them, TF_CONFIG for TensorFlow.

torchrun --nproc-per-node 2 -m tests.bench.bare_worker train.yaml
"""

import os
import sys

from scenerec.config.file import load_run
from scenerec.config.train import TrainConfig
from scenerec.job_log import format_line
from scenerec.training.learner import Learner, PretrainingJob
from scenerec.training.loop import train
from scenerec.training.open_job import open_job
from scenerec.training.preflight import plan_job
from scenerec.training.pretrain_preflight import plan_pretraining
from scenerec.world import World


def main(config_file: str) -> None:
    config = load_run(config_file)
    job = open_job(config, plan_job(config) if isinstance(config, TrainConfig) else plan_pretraining(config))
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    learner: Learner
    if config.framework == "torch":
        import torch.distributed as dist

        from scenerec.training import torch_learner, torch_pretrain_learner

        torch_learner.use_threads(config.scale.cpus_per_worker)
        dist.init_process_group("gloo")
        pretrains = isinstance(job, PretrainingJob)
        learner = (torch_pretrain_learner.TorchPretrainLearner if pretrains else torch_learner.TorchLearner)(job, world)
    else:
        from scenerec.training import tf_learner, tf_pretrain_learner

        tf_learner.use_threads(config.scale.cpus_per_worker)
        pretrains = isinstance(job, PretrainingJob)
        learner = (tf_pretrain_learner.TfPretrainLearner if pretrains else tf_learner.TfLearner)(job, world)
    train(job, world, learner, lambda event: print(format_line(event), flush=True), lambda metrics: None)


if __name__ == "__main__":
    main(sys.argv[1])
